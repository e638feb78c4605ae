"""Facts lead into a new chat by two ways only: the user's “Remember that …”, and a request of the model's own."""

from collections.abc import Sequence

import pytest

from menny.chat import Instructions, ReplySettings
from menny.chat.facts import asked_to_remember, first_that_fit, listed_facts, note_facts, with_facts
from menny.engine import SamplingParams
from menny.storage import ChatStore, Fact
from tests.storage.talking import say
from tests.ui.fake_engine import FakeEngine

SETTINGS = ReplySettings(SamplingParams(max_tokens=20), template="chatml")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("Remember that I'm allergic to nuts.", "I'm allergic to nuts."),
        ("please remember: my cat is Biscuit", "my cat is Biscuit"),
        ("Don't forget that we meet on Friday\n", "we meet on Friday"),
        ("Remember, I have two sons.", "I have two sons."),
        ("OK, and please remember this: I'm vegan. What can I eat?", "I'm vegan. What can I eat?"),
        ("Do you remember that day?", ""),
        ("Remember that day in Rome?", ""),
        ("Remember that I love it!", "I love it!"),
        ("Remember that?!", ""),
        ("I remember that well", ""),
        ("Remember that", ""),
        ("", ""),
    ],
)
def test_a_message_that_asks_to_remember_is_noted_as_it_stands(text: str, fact: str) -> None:
    assert asked_to_remember(text) == fact


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("- Ada has a cat.\n- Ada lives in Ghent.", ["Ada has a cat.", "Ada lives in Ghent."]),
        ("Here you are:\n1. Ada has a cat.\n2) Ada sings.", ["Ada has a cat.", "Ada sings."]),
        ("none", []),
        ("- none", []),
        ("- No new lasting facts.", []),
        ("- (none)\n- There are no new facts.\n- Nothing new to note.\n- N/A", []),
        ("- Nothing scares Ada.\n- None of Ada's cats bites.", ["Nothing scares Ada.", "None of Ada's cats bites."]),
        ("Ada has a cat.", []),
        ("", []),
        ("- known already\n- new", ["new"]),
        ("\n".join(f"- fact {n}" for n in range(9)), ["fact 0", "fact 1", "fact 2"]),
    ],
)
def test_a_models_list_is_read_line_by_line(answer: str, expected: Sequence[str]) -> None:
    assert listed_facts(answer, [Fact("1", "p", "Known already.")]) == list(expected)


def test_the_model_is_asked_once_and_sees_the_chat_and_what_is_known() -> None:
    store = ChatStore()
    chat = say(store, "I have a cat called Biscuit.", "A fine name.")
    engine = FakeEngine(lambda _: ["- Ada has a cat ", "called Biscuit.\n"])
    known = store.facts.add("menny", ["Ada lives in Ghent."])
    found = note_facts(engine, SETTINGS, store.path(chat), known, "Ada", lambda: False)
    assert found == ["Ada has a cat called Biscuit."]
    (prompt,) = engine.prompts
    assert "I have a cat called Biscuit." in prompt
    assert "- Ada lives in Ghent." in prompt
    assert engine.params[0].temperature == 0


def test_a_cancelled_request_notes_nothing() -> None:
    store = ChatStore()
    chat = say(store, "I have a cat.", "Good.")
    engine = FakeEngine(lambda _: ["- Ada has a cat.\n", "- Ada sings."])
    assert note_facts(engine, SETTINGS, store.path(chat), [], "Ada", lambda: True) == []


def test_of_a_long_chat_the_first_messages_that_fit_are_asked_about_and_of_one_too_long_none() -> None:
    store = ChatStore()
    chat = say(store, "first of all", "yes")
    for _ in range(30):
        say(store, "more and more " * 10, "yes", chat)
    say(store, "and more " * 300, "yes", chat)
    engine = FakeEngine(lambda _: ["none"], context_length=1500)
    path = store.path(chat)
    seen = first_that_fit(engine, SETTINGS, path, [], "Ada")
    assert 1 < len(seen) < len(path)
    note_facts(engine, SETTINGS, seen, [], "Ada", lambda: False)
    assert "first of all" in engine.prompts[0]
    assert first_that_fit(engine, SETTINGS, path[-2:], [], "Ada") == path[-2:-1]
    assert note_facts(engine, SETTINGS, path[-2:-1], [], "Ada", lambda: False) == []
    assert len(engine.prompts) == 1


def test_a_new_chat_is_told_the_latest_facts_that_fit() -> None:
    before = Instructions("You are Nora.")
    told = with_facts(before, ["Ada has a cat.", "Ada sings."], "Ada", len, 4000).system_text
    assert told == "You are Nora.\n\nWhat you remember about Ada:\n- Ada has a cat.\n- Ada sings."
    assert "cat" not in with_facts(before, ["Ada has a cat.", "Ada sings."], "Ada", len, 300).system_text
    assert with_facts(before, [], "Ada", len, 4000) == before
