"""A persona's memory in one chat: settled at its first reply, noted from once, and never of a temporary chat."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.chat.facts import HEADING
from menny.chat.noting import NOTED, facts_for, loses_unnoted, note_chat, settle_facts, settled_facts, source_of
from menny.chat.prompt_builder import Usage
from menny.engine import SamplingParams
from menny.storage import ChatStore, Fact
from tests.ui.fake_engine import FakeEngine

SETTINGS = ReplySettings(SamplingParams(max_tokens=20), Instructions.of(["Be kind."], "You are Nora."), "chatml")


@pytest.fixture
def store() -> ChatStore:
    return ChatStore()


def listing(prompt: str) -> Iterable[str]:
    return ["- Ada has a cat."] if "List lasting facts" in prompt else ["Fine."]


def ask(chat: Chat, engine: FakeEngine, text: str, facts: tuple[str, ...] = ()) -> None:
    for _ in chat.answer(chat.begin(text, "nora"), engine, replace(SETTINGS, facts=facts)):
        pass


def note(chat: Chat, store: ChatStore, engine: FakeEngine, *, is_cancelled: bool = False) -> list[Fact]:
    return note_chat(chat, "nora", store.facts, engine, SETTINGS, lambda: is_cancelled)


def test_a_chat_keeps_what_it_was_told_at_its_beginning(store: ChatStore) -> None:
    engine = FakeEngine(listing)
    store.facts.add("nora", ["Ada has a cat."])
    chat = Chat(store)
    told = settle_facts(chat, "nora", store.facts)
    ask(chat, engine, "Hi", told)
    store.facts.add("nora", ["Ada sings."])
    again = settle_facts(chat, "nora", store.facts)
    ask(chat, engine, "And now?", again)
    assert told == again == ("Ada has a cat.",)
    assert "You are Nora.\n\nWhat you remember about the user:\n- Ada has a cat." in engine.prompts[0]
    assert engine.prompts[0].index("Be kind.") < engine.prompts[0].index("Ada has a cat.")
    assert engine.prompts[1].startswith(engine.prompts[0])
    assert facts_for(Chat(store), "nora", store.facts) == ("Ada has a cat.", "Ada sings.")
    assert facts_for(Chat(store), "milo", store.facts) == ()


def test_a_chat_that_began_without_facts_stays_without(store: ChatStore) -> None:
    engine, chat = FakeEngine(listing), Chat(store)
    ask(chat, engine, "Hi", settle_facts(chat, "nora", store.facts))
    store.facts.add("nora", ["Ada has a cat."])
    assert settle_facts(chat, "nora", store.facts) == ()
    assert HEADING.format(name="the user") not in engine.prompts[0]


@pytest.mark.parametrize("kept", [None, "x", [], {"nora": "x"}, {"nora": [1]}, {"nora": None}])
def test_settings_of_anybodys_file_are_facts_or_none(kept: object) -> None:
    assert settled_facts({"facts": kept}, "nora") is None


def test_what_was_said_is_noted_once_with_its_message(store: ChatStore) -> None:
    engine, chat = FakeEngine(listing), Chat(store)
    ask(chat, engine, "I have a cat.")
    ask(chat, engine, "What is the time?")
    (fact,) = note(chat, store, engine)
    assert (fact.text, fact.origin, fact.chat) == ("Ada has a cat.", "model", chat.id)
    assert fact.message == chat.entries[0].id
    assert engine.params[-1].background
    asked = len(engine.prompts)
    assert note(chat, store, engine) == []
    assert len(engine.prompts) == asked  # nothing was said since
    ask(chat, engine, "I sing.")
    note(chat, store, engine)
    assert "I sing." in engine.prompts[-1]
    assert "I have a cat." not in engine.prompts[-1]
    assert len(store.facts.of("nora")) == 1


def test_a_long_chat_is_noted_from_its_beginning_in_several_requests(store: ChatStore) -> None:
    engine, chat = FakeEngine(listing, context_length=1500), Chat(store)
    for number in range(12):
        ask(chat, engine, f"{number} " + "and so on " * 12)
    assert loses_unnoted(chat, Usage.read(chat.entries[-1].extra["usage"]))
    said = len(engine.prompts)
    note(chat, store, engine)
    asked = engine.prompts[said:]
    assert len(asked) > 1
    assert all(sum(f"user\n{number} and so on" in prompt for prompt in asked) == 1 for number in range(12))
    assert not loses_unnoted(chat, Usage.read(chat.entries[-1].extra["usage"]))


def test_a_cancelled_noting_is_made_again(store: ChatStore) -> None:
    engine, chat = FakeEngine(listing), Chat(store)
    ask(chat, engine, "I have a cat.")
    assert note(chat, store, engine, is_cancelled=True) == []
    assert NOTED not in chat.settings
    assert note(chat, store, engine)


def test_a_temporary_chat_is_never_noted(store: ChatStore) -> None:
    engine, chat = FakeEngine(listing), Chat(store, is_temporary=True)
    ask(chat, engine, "I have a cat.")
    assert note(chat, store, engine) == []
    assert len(engine.prompts) == 1
    assert store.facts.all() == []


def test_a_fact_comes_from_the_message_that_shares_its_words(store: ChatStore) -> None:
    engine, chat = FakeEngine(listing), Chat(store)
    for text in ("My cat is called Biscuit", "I live in Ghent", "Good night"):
        ask(chat, engine, text)
    first, second, last = (entry.id for entry in chat.entries if entry.role == "user")
    assert source_of("Ada has a cat called Biscuit.", chat.entries) == first
    assert source_of("Ada lives in Ghent.", chat.entries) == second
    assert source_of("Ada is tired.", chat.entries) == last
