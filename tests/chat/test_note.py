"""A chat's note stands before questions in the prompt, where it was told first, and again after so many turns."""

from dataclasses import replace

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.chat.receipts import read_receipt
from menny.engine import SamplingParams
from menny.storage import ChatStore
from tests.ui.fake_engine import FakeEngine, last_question

SETTINGS = ReplySettings(SamplingParams(max_tokens=20), Instructions.of([], "You are Nora."), "chatml")
RAIN = "[Note:\nIt is raining.]\n\n"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(lambda _: ["Fine."])


def ask(chat: Chat, engine: FakeEngine, text: str, note: str, depth: int = 2) -> str:
    """Ask, and return the question as the model got it."""
    for _ in chat.answer(chat.begin(text), engine, replace(SETTINGS, note=note, note_depth=depth)):
        pass
    return last_question(engine.prompts[-1])


def test_a_note_is_told_at_once_and_again_after_its_turns_and_prompts_only_grow(engine: FakeEngine) -> None:
    chat = Chat(ChatStore())
    asked = [ask(chat, engine, f"{number}", "It is raining.") for number in range(7)]
    assert asked == [f"{RAIN}0", "1", "2", f"{RAIN}3", "4", "5", f"{RAIN}6"]
    assert all(after.startswith(before) for before, after in zip(engine.prompts, engine.prompts[1:], strict=False))


def test_a_note_that_is_changed_is_told_at_once_and_one_that_is_removed_no_more(engine: FakeEngine) -> None:
    chat = Chat(ChatStore())
    ask(chat, engine, "0", "It is raining.")
    assert ask(chat, engine, "1", "It is snowing.") == "[Note:\nIt is snowing.]\n\n1"
    assert ask(chat, engine, "2", "") == "2"
    assert RAIN in engine.prompts[-1]
    assert ask(chat, engine, "3", " \n") == "3"


def test_a_note_stays_with_its_question_and_its_receipt_counts_it(engine: FakeEngine) -> None:
    chat = Chat(ChatStore())
    ask(chat, engine, "0", "It is raining.")
    for _ in chat.answer(chat.regenerate(chat.entries[-1].id), engine, SETTINGS):
        pass
    assert engine.prompts[0] == engine.prompts[1]
    receipt = read_receipt(chat.entries[-1], chat.entries)
    assert receipt is not None
    assert receipt.sections["note"] == len("It is raining.")


def test_a_note_in_a_turn_that_the_model_no_longer_sees_is_told_again(engine: FakeEngine) -> None:
    engine.context_length = 500
    chat = Chat(ChatStore())
    for number in range(12):
        ask(chat, engine, f"Question {number} " + "x" * 40, "It is raining.", depth=100)
        assert RAIN in engine.prompts[-1]
