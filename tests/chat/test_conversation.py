"""A user's text goes down one way and comes back as a stream; whatever happens on it, what was said stays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.errors import EngineError, PromptError, PromptTooLongError
from menny.messages import Message
from menny.text import is_blank, sanitize


class Words:
    """A vocabulary in which every word is one token, so a prompt can be read back."""

    def __init__(self) -> None:
        self.words: list[str] = ["<|im_start|>", "<|im_end|>"]

    def encode(self, text: str) -> list[int]:
        for word in text.split():
            if word not in self.words:
                self.words.append(word)
        return [self.words.index(word) for word in text.split()]

    def control_id(self, piece: str) -> int | None:
        return self.words.index(piece) if piece in self.words[:2] else None

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.words[index] for index in ids)


@dataclass
class Piece:
    text: str
    finish_reason: Any = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    decode_tps: float = 0.0
    seconds_to_first_token: float = 0.0
    token: int | None = None


class Pieces:
    """A stream that can be cancelled, as the engine's."""

    def __init__(self, pieces: Sequence[Piece | Exception]) -> None:
        self.pieces, self.cancelled = pieces, False

    def __iter__(self) -> Iterator[Piece]:
        for piece in self.pieces:
            if self.cancelled:
                yield Piece("", "cancelled")
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Scripted:
    """An engine that says what it is told to, and keeps the prompts it got."""

    replies: list[list[Piece | Exception]]
    context_length: int = 1000
    tokenizer: Words = field(default_factory=Words)
    prompts: list[str] = field(default_factory=list)
    streams: list[Pieces] = field(default_factory=list)

    def stream(self, prompt_ids: list[int], params: Any, on_progress: Any = None) -> Pieces:
        self.prompts.append(self.tokenizer.decode(prompt_ids))
        self.streams.append(Pieces(self.replies.pop(0)))
        return self.streams[-1]


@dataclass
class Sampling:
    max_tokens: int = 10
    temperature: float = 0.7
    background: bool = False
    keep_cache: bool = False


def saying(*texts: str) -> list[Piece | Exception]:
    return [*(Piece(text) for text in texts), Piece("", "stop")]


def test_a_reply_streams_and_stays_in_the_conversation() -> None:
    chat, engine = Chat(), Scripted([saying("Hel", "lo")])
    assert [chunk.text for chunk in chat.reply("Hi", engine, ReplySettings(Sampling()))] == ["Hel", "lo", ""]
    assert [entry.text for entry in chat.entries] == ["Hi", "Hello"]
    assert chat.entries[1].finish_reason == "stop"


def test_the_second_prompt_holds_the_first_turn() -> None:
    chat, engine = Chat(), Scripted([saying("Hello Ada"), saying("Ada")])
    list(chat.reply("I am Ada", engine, ReplySettings(Sampling())))
    list(chat.reply("Who am I?", engine, ReplySettings(Sampling())))
    assert engine.prompts[1] == (
        "<|im_start|> user I am Ada <|im_end|> <|im_start|> assistant Hello Ada <|im_end|> "
        "<|im_start|> user Who am I? <|im_end|> <|im_start|> assistant"
    )


def test_guardrails_stand_before_the_persona_and_examples_after_it() -> None:
    examples = [Message("user", "Ping"), Message("assistant", "Pong")]
    brief = Instructions.of(["Be safe.\n"], "You are Menny.", examples)
    engine = Scripted([saying("ok")])
    list(Chat().reply("Hi", engine, ReplySettings(Sampling(), brief)))
    assert engine.prompts[0].startswith("<|im_start|> system Be safe. You are Menny. <|im_end|> <|im_start|> user Ping")


@pytest.mark.parametrize("text", ["", "  \n\t", "\u200b\u200d", "\x00"])
def test_a_blank_message_is_not_sent(text: str) -> None:
    chat, engine = Chat(), Scripted([])
    with pytest.raises(PromptError, match="nothing to send"):
        chat.reply(text, engine, ReplySettings(Sampling()))
    assert chat.entries == []
    assert engine.prompts == []


def test_a_message_over_the_context_leaves_the_conversation_again() -> None:
    chat, engine = Chat(), Scripted([saying("Hello")], context_length=40)
    list(chat.reply("Hi", engine, ReplySettings(Sampling())))
    with pytest.raises(PromptTooLongError, match="tokens too long"):
        list(chat.reply("word " * 100, engine, ReplySettings(Sampling())))
    assert [entry.text for entry in chat.entries] == ["Hi", "Hello"]


def test_the_oldest_turns_leave_a_full_context_and_the_reply_says_how_many() -> None:
    chat, engine = Chat(), Scripted([saying("yes") for _ in range(10)], context_length=60)
    for number in range(10):
        list(chat.reply(f"question {number}", engine, ReplySettings(Sampling(), Instructions("Be kind."))))
    assert "question 0" not in engine.prompts[-1]
    assert "Be kind." in engine.prompts[-1]
    assert "question 9" in engine.prompts[-1]
    assert chat.entries[-1].extra["usage"]["unseen"] > 0


def test_an_engine_error_ends_the_reply_and_keeps_its_text() -> None:
    chat, engine = Chat(), Scripted([[Piece("Half a"), EngineError("The model gave no numbers.")], saying("Fine")])
    with pytest.raises(EngineError):
        list(chat.reply("Hi", engine, ReplySettings(Sampling())))
    assert (chat.entries[1].text, chat.entries[1].error) == ("Half a", "The model gave no numbers.")
    list(chat.reply("Again", engine, ReplySettings(Sampling())))
    assert chat.entries[3].text == "Fine"


def test_a_cancelled_reply_keeps_what_was_said() -> None:
    chat, engine = Chat(), Scripted([saying("One ", "two ", "three")])
    reply = chat.begin("Count")
    for chunk in chat.answer(reply, engine, ReplySettings(Sampling())):
        if chunk.text == "two ":
            reply.cancel()
    assert (chat.entries[1].text, chat.entries[1].finish_reason) == ("One two ", "cancelled")


def test_a_reply_cancelled_before_its_start_asks_nothing_of_the_engine() -> None:
    chat, engine = Chat(), Scripted([])
    reply = chat.begin("Hi")
    reply.cancel()
    assert list(chat.answer(reply, engine, ReplySettings(Sampling()))) == []
    assert (reply.finish_reason, engine.prompts) == ("cancelled", [])


def test_an_abandoned_reply_frees_its_place() -> None:
    chat, engine = Chat(), Scripted([saying("One ", "two")])
    chunks = chat.reply("Count", engine, ReplySettings(Sampling()))
    next(iter(chunks))
    del chunks
    assert engine.streams[0].cancelled
    assert (chat.entries[1].text, chat.entries[1].status) == ("One ", "interrupted")


def test_a_reply_without_a_word_leaves_only_the_question_in_the_next_prompt() -> None:
    chat, engine = Chat(), Scripted([saying("ok")])
    silent = chat.begin("First")
    silent.cancel()
    list(chat.answer(silent, engine, ReplySettings(Sampling())))
    list(chat.reply("Second", engine, ReplySettings(Sampling())))
    assert engine.prompts == [
        "<|im_start|> user First <|im_end|> <|im_start|> user Second <|im_end|> <|im_start|> assistant"
    ]


@pytest.mark.parametrize(
    ("typed", "cleaned"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d!", "\ufffd!"),
        ("nul\x00bell\x07\ttab", "nulbell\ttab"),
        ("👩‍👩‍👧 שלום 漢字", "👩‍👩‍👧 שלום 漢字"),
    ],
)
def test_odd_unicode_is_forgiven(typed: str, cleaned: str) -> None:
    assert sanitize(typed) == cleaned
    assert not is_blank(cleaned)
