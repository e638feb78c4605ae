"""The beginning of a reply is the user's, and a draft of the user's next message is only ever a draft."""

from dataclasses import replace

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.chat.drafting import cleaned, draft_message
from menny.chat.receipts import read_receipt
from menny.engine import SamplingParams
from menny.storage import ChatStore
from tests.ui.fake_engine import FakeEngine

SETTINGS = ReplySettings(SamplingParams(max_tokens=20), Instructions.of([], "You are Nora."), "chatml")


def ask(chat: Chat, engine: FakeEngine, text: str, beginning: str = "") -> None:
    for _ in chat.answer(chat.begin(text, "nora"), engine, replace(SETTINGS, beginning=beginning)):
        pass


def test_a_reply_goes_on_from_the_beginning_that_it_was_given() -> None:
    engine, chat = FakeEngine(lambda _: [" there", " was"]), Chat(ChatStore())
    ask(chat, engine, "Tell me a story", "Once upon a time")
    assert engine.prompts[0].endswith("<|im_start|>assistant\nOnce upon a time")
    assert chat.entries[-1].text == "Once upon a time there was"
    receipt = read_receipt(chat.entries[-1], chat.entries)
    assert receipt is not None
    assert receipt.text == engine.prompts[0]
    for _ in chat.answer(chat.regenerate(chat.entries[-1].id), engine, replace(SETTINGS, beginning="Well,")):
        pass
    assert chat.entries[-1].text == "Well, there was"
    for _ in chat.answer(chat.resume(chat.entries[-1].id), engine, replace(SETTINGS, beginning="Once")):
        pass
    assert chat.entries[-1].text == "Well, there was there was"


def test_a_draft_is_asked_for_with_the_chat_and_its_roles_and_changes_nothing() -> None:
    engine, chat = FakeEngine(lambda _: ["Ada: ", "And the cat?"]), Chat(ChatStore())
    ask(chat, engine, "Hi")
    before = chat.entries
    settings = replace(SETTINGS, user="Ada")
    assert draft_message(chat, "Nora", engine, settings, lambda: False) == "And the cat?"
    assert chat.entries == before
    assert engine.prompts[1].startswith(engine.prompts[0])
    assert "Write the next message of Ada in this conversation, as Ada would write it to Nora" in engine.prompts[1]
    assert draft_message(chat, "Nora", engine, settings, lambda: True) == ""


@pytest.mark.parametrize(
    ("text", "draft"),
    [
        ("“Hello.”", "Hello."),
        ('"Hello."', "Hello."),
        ('"Yes," she said, "no."', '"Yes," she said, "no."'),
        ("User: Hello.\n", "Hello."),
        ("Usery: Hello.", "Usery: Hello."),
        (" \n", ""),
        ("“", "“"),
    ],
)
def test_what_models_put_around_a_draft_is_taken_off(text: str, draft: str) -> None:
    assert cleaned(text, "") == draft
