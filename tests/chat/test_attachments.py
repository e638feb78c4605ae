"""Files beside a question: what the model reads of them, how they are kept, and what is said where they don't fit."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.attachments import Attachment, framed, kept_attachments, plain_name
from menny.chat import Chat, ReplySettings
from menny.engine import SamplingParams
from menny.errors import PromptError, PromptTooLongError, WithheldError
from menny.moderation.moderator import Verdict
from menny.moderation.policy import Moderation, Policy
from menny.storage import ChatStore, as_json, as_markdown
from menny.storage.formats.json import from_json
from tests.ui.fake_engine import FakeEngine, parrot

NOTES = Attachment("notes.txt", "The meeting is at nine.")
PLAIN = ReplySettings(SamplingParams(max_tokens=100), template="chatml")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(parrot, context_length=1000)


def ask(chat: Chat, engine: FakeEngine, text: str, *files: Attachment, how: ReplySettings = PLAIN) -> None:
    for _ in chat.answer(chat.begin(text, attachments=files), engine, how):
        pass


def test_the_model_reads_the_file_before_the_question_and_the_chat_keeps_it(engine: FakeEngine) -> None:
    chat = Chat()
    ask(chat, engine, "When is it?", NOTES)
    assert "user\nFile notes.txt:\n\n```\nThe meeting is at nine.\n```\n\nWhen is it?<|im_end|>" in engine.prompts[0]
    question = chat.entries[0]
    assert (question.text, question.attachments[0].text) == ("When is it?", NOTES.text)
    assert question.attachments[0].tokens == len(NOTES.text)  # a letter is a token here
    ask(chat, engine, "And then?")
    assert "The meeting is at nine." in engine.prompts[1]


def test_a_file_alone_can_be_sent_and_names_the_chat(engine: FakeEngine) -> None:
    store = ChatStore()
    chat = Chat(store)
    ask(chat, engine, " ", NOTES)
    assert "```\nThe meeting is at nine.\n```<|im_end|>" in engine.prompts[0]
    assert store.conversations()[0].title == "notes.txt"
    with pytest.raises(PromptError):
        chat.begin(" ")


def test_a_file_that_is_too_long_is_refused_before_anything_is_checked(engine: FakeEngine) -> None:
    def check(*_: object) -> Verdict:
        pytest.fail("It was checked.")

    moderation = Moderation(Policy({"hateful": "block"}), {"hateful": "Hate"}, check)
    how = ReplySettings(SamplingParams(max_tokens=100), template="chatml", moderation=moderation)
    with pytest.raises(PromptTooLongError, match=r"long\.txt has 5,000 tokens"):
        ask(Chat(), engine, "Hm?", Attachment("long.txt", "x" * 5000), how=how)


def test_an_edited_question_keeps_its_files(engine: FakeEngine) -> None:
    chat = Chat()
    ask(chat, engine, "When is it?", NOTES)
    for _ in chat.answer(chat.edit(chat.entries[0].id, "Where is it?"), engine, PLAIN):
        pass
    assert "The meeting is at nine." in engine.prompts[1]
    assert "Where is it?" in engine.prompts[1]


@pytest.mark.parametrize("names", [["notes.txt"], ["notes.txt", "more.txt"]])
def test_files_over_the_context_are_refused_with_numbers_and_leave_no_trace(
    engine: FakeEngine, names: list[str]
) -> None:
    chat = Chat()
    with pytest.raises(PromptTooLongError) as caught:
        ask(chat, engine, "Hm?", *(Attachment(name, "x" * 1000) for name in names))
    sentence = str(caught.value)
    assert re.search(r"[12],000 tokens.*; [78]\d\d are free\.", sentence)
    assert all(name in sentence for name in names)
    assert list(chat.entries) == []
    assert engine.prompts == []


def test_moderation_reads_the_file_too(engine: FakeEngine) -> None:
    seen: list[str] = []

    def classify(engine: object, template: object, text: str, on_progress: object, question: str) -> Verdict:
        seen.append(text)
        return Verdict("bad", {"bad": 0.9, "acceptable": 0.1}, 0.0)

    moderation = Moderation(Policy({"bad": "block"}), {"bad": "Bad"}, classify)
    with pytest.raises(WithheldError):
        ask(Chat(), engine, "Hm?", NOTES, how=ReplySettings(PLAIN.params, template="chatml", moderation=moderation))
    assert NOTES.text in seen[0]


def test_an_export_brings_them_back(engine: FakeEngine) -> None:
    chat = Chat()
    ask(chat, engine, "When is it?", NOTES)
    imported = from_json(as_json(chat.transcript()))
    assert imported.entries[0].attachments == chat.entries[0].attachments
    assert "*Attached: notes.txt*" in as_markdown(imported, {})


@pytest.mark.parametrize("kept", [None, 3, "x", [3], [{"name": "a"}], [{"name": 1, "text": "x"}], {"name": "a"}])
def test_what_cannot_be_an_attachment_is_left_out(kept: object) -> None:
    assert kept_attachments({"attachments": kept}) == ()


def test_what_a_file_of_anybodys_holds_is_cleaned() -> None:
    kept = {"attachments": [{"name": "../a\nb.txt", "text": "x\0\ud800y", "tokens": -1}]}
    assert kept_attachments(kept) == (Attachment("a b.txt", "x\ufffdy"),)


@given(st.text("`x\n", max_size=60))
@settings(max_examples=100)
def test_no_text_closes_its_fence(text: str) -> None:
    first, *lines, last = framed("", [Attachment("a", text)]).split("\n\n", 1)[1].split("\n")
    assert first == last
    assert set(first) == {"`"}
    assert all(not line.startswith(first) for line in lines)


def test_a_long_name_keeps_its_ending() -> None:
    assert plain_name("x" * 300 + ".pdf") == "x" * 95 + "….pdf"
    assert plain_name("/\u0007") == "file"


def test_a_rewritten_reply_keeps_the_original_and_what_follows(engine: FakeEngine) -> None:
    chat = Chat()
    ask(chat, engine, "One")
    ask(chat, engine, "Two")
    reply = chat.entries[1]
    chat.rewrite(reply.id, "Mine.")
    changed = chat.entries[1]
    assert (changed.text, changed.is_edited, changed.other_text) == ("Mine.", True, reply.text)
    assert len(chat.entries) == 4
    chat.rewrite(reply.id, "Mine again.")
    assert chat.entries[1].other_text == reply.text
    chat.rewrite(reply.id, reply.text)
    assert (chat.entries[1].is_edited, chat.entries[1].other_text) == (False, "Mine again.")
    ask(chat, engine, "Three")
    assert "assistant\nMine" not in engine.prompts[-1]
    with pytest.raises(PromptError):
        chat.rewrite(reply.id, " ")
