"""Memory by retrieval: what the recent turns have lost is put before the question that asks for it."""

import pytest

from menny.chat import Chat, Memory, ReplySettings
from menny.chat.turn_context import TurnContext
from menny.engine import SamplingParams
from menny.storage import ChatStore, new_id
from tests.storage.talking import say
from tests.ui.fake_engine import FakeEngine

FACT = "My sister Ingrid moved to Lisbon."
ASKED = "Where did my sister move?"


def settings(memory: Memory) -> ReplySettings:
    return ReplySettings(SamplingParams(max_tokens=20), template="chatml", memory=memory)


@pytest.fixture
def store() -> ChatStore:
    return ChatStore()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(lambda _: ["Fine."], context_length=2000)


def ask(chat: Chat, engine: FakeEngine, text: str, memory: Memory) -> str:
    for _ in chat.answer(chat.begin(text, "menny"), engine, settings(memory)):
        pass
    prompt: str = engine.prompts[-1]
    return prompt


def long_chat(store: ChatStore) -> Chat:
    chat_id, parent = new_id(), None
    for said in (FACT, *(f"Message {number} of the weather." for number in range(200))):
        _, reply = store.ask(chat_id, parent, said, "menny")
        store.finish(reply.id, "It rains.", "stop")
        parent = reply.id
    return Chat(store, chat_id)


def test_an_early_fact_is_found_that_recent_turns_have_lost(store: ChatStore, engine: FakeEngine) -> None:
    chat = long_chat(store)
    assert "Lisbon" not in ask(chat, engine, ASKED, Memory("recent"))
    chat.delete(chat.entries[-2].id)
    prompt = ask(chat, engine, ASKED, Memory("retrieval"))
    assert f"[From earlier:\nThe user said: {FACT}]\n\n{ASKED}<|im_end|>" in prompt
    following = ask(chat, engine, "And is it warm there?", Memory("retrieval"))
    assert following.startswith(prompt)


def test_what_the_model_sees_anyway_is_not_told_twice(store: ChatStore, engine: FakeEngine) -> None:
    chat = Chat(store, say(store, FACT, "Noted."))
    assert "[From earlier" not in ask(chat, engine, ASKED, Memory("retrieval"))
    assert not TurnContext.read(chat.entries[-2].extra)


def test_other_chats_with_the_persona_are_looked_into_only_if_chosen(store: ChatStore, engine: FakeEngine) -> None:
    say(store, FACT, "Noted.")
    assert "Lisbon" not in ask(Chat(store), engine, ASKED, Memory("retrieval"))
    assert "Lisbon" in ask(Chat(store), engine, ASKED, Memory("retrieval", all_chats=True))
    assert "Lisbon" not in ask(Chat(store), engine, ASKED, Memory("recent", all_chats=True))


def test_a_reply_that_might_be_blocked_is_not_told(store: ChatStore, engine: FakeEngine) -> None:
    said = Chat(store, say(store, "Who moved?", "Your sister moved to Lisbon."))
    for action, is_told in (("block", False), ("warn", True)):
        store.set_metadata(said.entries[-1].id, moderation={"action": action, "problem": "it ended before"})
        assert ("Lisbon" in ask(Chat(store), engine, ASKED, Memory("retrieval", all_chats=True))) is is_told


def test_it_takes_a_tenth_of_the_context_at_most(store: ChatStore) -> None:
    engine = FakeEngine(lambda _: ["Fine."], context_length=1000)
    chat_id = say(store, FACT, "Noted.")
    for number in range(60):
        say(store, f"My sister, part {number}, " + "and so on " * 10, "Yes.", chat_id)
    prompt = ask(Chat(store, chat_id), engine, "sister Ingrid?", Memory("retrieval"))
    block = prompt.rsplit("<|im_start|>user\n", 1)[-1].split("]\n\nsister")[0]
    assert FACT in block
    assert len(block) <= 100 + len("[From earlier:\n")
