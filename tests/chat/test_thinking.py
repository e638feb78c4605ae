"""Thoughts apart from answers: however they come, are cut short, stopped, continued or withheld."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.chat import Chat, Instructions, ReplySettings, Thinking, conversation
from menny.chat.thinking import ThoughtSplitter
from menny.engine import SamplingParams
from menny.engine_protocols import Chunk
from menny.errors import EngineError
from menny.moderation.policy import WITHHELD, Moderation, Policy
from menny.storage import ChatStore
from tests.chat.test_conversation import Words
from tests.chat.thinking_engine import ANSWER, THOUGHT, ThinkingEngine
from tests.prompts.conversations import tokenizer_of

TEKKEN = "mistral-v7-tekken"
IN_TEXT = "mistral-v3"  # a vocabulary without tokens for thoughts
FRAGMENTS = ["<think>", "</think>", "[THINK]", "[/THINK]", "<", "</thi", "think>", "\n", " ", "Hm. ", "é", "```"]


def asked(budget: int = 500, most: int = 200, choice: Any = "on", **others: Any) -> ReplySettings:
    return ReplySettings(SamplingParams(0, max_tokens=most), thinking=Thinking(choice, budget), **others)


def said(chat: Chat, engine: ThinkingEngine, options: ReplySettings | None = None, question: str = "A number?") -> Any:
    list(chat.reply(question, engine, options or asked(template=engine.template)))
    return chat.entries[-1]


@pytest.fixture(params=[TEKKEN, IN_TEXT])
def template(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# The splitter


def split(tokenizer: Any, chunks: Sequence[Chunk]) -> tuple[str, str, bool]:
    splitter = ThoughtSplitter(tokenizer)
    for chunk in chunks:
        splitter.add(chunk, chunk.text)
    splitter.finish()
    return splitter.thought, splitter.text, splitter.is_thinking


def cut(text: str, places: list[int]) -> list[Chunk]:
    at = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [Chunk(text[start:end]) for start, end in pairwise(at)]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join), st.lists(st.integers(0, 200), max_size=12))
def test_a_text_is_split_the_same_in_whatever_pieces_it_comes(text: str, places: list[int]) -> None:
    whole = split(Words(), [Chunk(text)])
    assert split(Words(), cut(text, places)) == split(Words(), [Chunk(letter) for letter in text]) == whole


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(FRAGMENTS)), max_size=8), st.lists(st.integers(0, 99)))
def test_what_a_server_tells_apart_is_never_read_again(parts: list[tuple[bool, str]], places: list[int]) -> None:
    parts = [(True, "First. "), *parts]
    chunks = [Chunk("", thought=text) if is_thought else Chunk(text) for is_thought, text in parts]
    pieces = [
        Chunk("", thought=piece.text) if is_thought else piece
        for is_thought, text in parts
        for piece in cut(text, places)
    ]
    thought, text, _ = split(Words(), chunks)
    assert split(Words(), pieces)[:2] == (thought, text)
    assert thought == "".join(text for is_thought, text in parts if is_thought)
    assert text == "".join(text for is_thought, text in parts if not is_thought).lstrip()


@settings(max_examples=100)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join), st.booleans())
def test_over_a_vocabulary_with_tokens_for_them_no_text_is_a_thought(text: str, has_thought: bool) -> None:
    tokenizer = tokenizer_of(TEKKEN)
    opens, closes = tokenizer.control_id("[THINK]"), tokenizer.control_id("[/THINK]")
    ids = tokenizer.encode(text)
    before = [opens, *tokenizer.encode("Hm."), closes] if has_thought else []
    decoder = tokenizer.decoder()
    chunks = [Chunk(decoder.add(token), token) for token in [*before, *ids]]
    assert split(tokenizer, chunks) == ("Hm." if has_thought else "", text, False)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("\n<think>Hm.</think>Yes.", "Hm.", "Yes."),
        ("[THINK]Hm.[/THINK]Yes.", "Hm.", "Yes."),
        ("Hm, well.\n</think>\n\nYes.", "Hm, well.", "Yes."),  # the prompt has opened the thought
        ("Write `<think>` first.\n", "", "Write `<think>` first.\n"),
        ("```\n<think>\nHm.\n</think>\n```", "", "```\n<think>\nHm.\n</think>\n```"),
        ("Close it with </think> always.", "", "Close it with </think> always."),
        ("<think>Hm", "Hm", ""),
        ("<think>Hm.</think>", "Hm.", ""),
        ("<thin", "", "<thin"),
        ("  Yes.", "", "  Yes."),
    ],
)
def test_marks_in_the_text_count_where_a_model_writes_them(text: str, thought: str, answer: str) -> None:
    assert split(Words(), [Chunk(letter) for letter in text])[:2] == (thought, answer)


# A reply


def test_a_thought_is_kept_apart_from_its_answer(template: str) -> None:
    chat, engine = Chat(), ThinkingEngine(template)
    entry = said(chat, engine)
    assert (entry.thought, entry.text, entry.finish_reason) == (THOUGHT, ANSWER, "stop")
    tokens = len(engine.whole())
    assert entry.stats.thought_tokens + entry.stats.completion_tokens == tokens
    assert abs(entry.stats.completion_tokens - len(engine.tokenizer.encode(ANSWER))) < 8
    assert entry.stats.thought_seconds > 0


def test_a_thought_is_not_counted_against_the_answers_tokens(template: str) -> None:
    for choice in ("on", "off"):  # a model may think though nobody asked it to
        entry = said(Chat(), ThinkingEngine(template), asked(most=20, choice=choice, template=template))
        assert (entry.thought, entry.text) == (THOUGHT, ANSWER), choice
        entry = said(Chat(), ThinkingEngine(template), asked(most=4, choice=choice, template=template))
        assert (entry.thought, entry.finish_reason) == (THOUGHT, "length")
        assert ANSWER.startswith(entry.text)
        assert entry.stats.completion_tokens == 4


def test_a_thought_that_takes_too_long_is_closed_and_answered(template: str) -> None:
    engine = ThinkingEngine(template)
    entry = said(Chat(), engine, asked(budget=12, template=template))
    assert entry.text == ANSWER
    assert entry.thought
    assert THOUGHT.startswith(entry.thought)
    first, second = engine.prompts
    assert second[: len(first)] == first  # so that the engine goes on from its cache
    if template == TEKKEN:
        assert second[-1] == engine.tokenizer.control_id("[/THINK]")
        assert engine.whole()[: len(second) - len(first) - 1] == second[len(first) : -1]
    else:
        assert engine.tokenizer.decode(second).endswith("\n</think>\n\n")


@pytest.mark.parametrize("when", [15, 33])
def test_the_user_can_have_the_answer_now(template: str, when: int) -> None:
    chat, engine = Chat(), ThinkingEngine(template)
    reply = chat.begin("A number?")
    for number, _ in enumerate(chat.answer(reply, engine, asked(template=template))):
        if number == when:
            assert reply.thought_seconds > 0
            reply.answer_now()
    entry = chat.entries[1]
    assert (entry.text, entry.finish_reason) == (ANSWER, "stop")
    assert entry.thought
    assert THOUGHT.startswith(entry.thought.rstrip())
    assert len(engine.prompts) == 2


@pytest.mark.parametrize("after", [6, 15, 30, 44, 45, 46])  # some of them within a mark that is text
def test_a_thought_that_was_stopped_goes_on_where_it_was(template: str, after: int) -> None:
    chat, engine = Chat(), ThinkingEngine(template)
    reply = chat.begin("A number?")
    for number, _ in enumerate(chat.answer(reply, engine, asked(template=template)), start=1):
        if number == after:
            reply.cancel()
    stopped = chat.entries[1]
    assert stopped.thought
    assert (stopped.finish_reason, stopped.can_go_on) == ("cancelled", True)
    assert stopped.text == "" or after > 40
    list(chat.answer(chat.resume(stopped.id), engine, asked(template=template)))
    entry = chat.entries[1]
    assert (entry.thought, entry.text, entry.finish_reason) == (THOUGHT, ANSWER, "stop")
    assert entry.stats.thought_tokens > stopped.stats.thought_tokens or after > 40


def test_an_answer_that_was_stopped_goes_on_after_its_thought(template: str) -> None:
    chat, engine = Chat(), ThinkingEngine(template)
    first = said(chat, engine, asked(most=6, template=template))
    list(chat.answer(chat.resume(first.id), engine, asked(template=template)))
    assert (chat.entries[1].thought, chat.entries[1].text) == (THOUGHT, ANSWER)


def test_a_thought_survives_an_error_and_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "KEEP_EVERY", 0)
    store = ChatStore(tmp_path / "chats.db")
    chat, engine = Chat(store), ThinkingEngine(fails_after=10)
    with pytest.raises(EngineError):
        said(chat, engine)
    assert chat.entries[1].thought
    assert chat.entries[1].error
    engine = ThinkingEngine()
    chunks = chat.answer(chat.regenerate(chat.entries[1].id), engine, asked())
    for _ in range(12):
        next(chunks)
    growing = store.path(chat.id)[1]
    assert (growing.status, growing.text) == ("growing", "")
    assert len(growing.thought) > 20  # in the file, where the next process finds it
    chunks.close()  # type: ignore[attr-defined]
    store.close()


def test_the_next_prompt_has_the_thought_where_its_template_shows_it(template: str) -> None:
    chat, engine = Chat(), ThinkingEngine(template)
    said(chat, engine)
    said(chat, engine, question="Another?")
    second = engine.prompts[-1]
    opens = engine.tokenizer.control_id("[THINK]")
    assert ("divide" in engine.tokenizer.decode(second)) == (template == TEKKEN)
    if opens is not None:
        assert second.count(opens) == 2  # of the words, and of the first answer


def test_thinking_off_asks_for_no_thought() -> None:
    engine = ThinkingEngine(thinks=lambda prompt: tokenizer_of(TEKKEN).control_id("[THINK]") in prompt)
    assert said(Chat(), engine, asked(choice="off")).thought == ""
    assert said(Chat(), engine, asked(choice="auto")).thought == ""
    known = ReplySettings(SamplingParams(0), thinking=Thinking("auto", is_reasoner=True))
    assert said(Chat(), engine, known).thought == THOUGHT


def test_the_context_keeps_room_for_a_thought() -> None:
    engine, settings = ThinkingEngine(), asked(budget=300)
    usage = Chat().estimate_usage(engine, settings)
    assert usage.reply == 500
    assert Chat().estimate_usage(engine, asked(budget=300, choice="off")).reply == 200


# Moderation


class Judge:
    """Blocks a text with a word in it, and keeps what it was shown."""

    def __init__(self, word: str) -> None:
        self.word, self.seen = word, list[str]()

    def __call__(self, engine: Any, template: Any, text: str, on_progress: Any, question: str = "") -> Any:
        self.seen.append(text)
        label = "bad" if self.word in text else "fine"
        return type("Verdict", (), {"category": label, "probabilities": {label: 0.9}, "counting": {}})


def moderated(judge: Callable[..., Any]) -> ReplySettings:
    moderation = Moderation(Policy({}, {"bad": "block"}), {"bad": "Bad", "fine": "Fine"}, judge)
    return asked(moderation=moderation)


def test_moderation_judges_the_answer_and_not_the_thought() -> None:
    judge = Judge("divide")  # which is in the thought
    entry = said(Chat(), ThinkingEngine(), moderated(judge))
    assert (entry.text, judge.seen) == (ANSWER, [ANSWER])


def test_a_withheld_reply_does_not_leak_by_its_thought() -> None:
    chat, engine, options = Chat(), ThinkingEngine(), moderated(Judge("prime"))
    entry = said(chat, engine, options)
    assert (entry.text, entry.thought) == (WITHHELD, "")
    said(chat, engine, asked(), question="And then?")
    assert "divide" not in engine.tokenizer.decode(engine.prompts[-1])


def test_a_thought_stopped_before_its_answer_can_go_on_under_moderation() -> None:
    chat, engine, options = Chat(), ThinkingEngine(), moderated(Judge("nothing"))
    reply = chat.begin("A number?")
    for _ in chat.answer(reply, engine, options):
        reply.cancel()
    list(chat.answer(chat.resume(reply.id), engine, options))
    assert chat.entries[1].text == ANSWER


def test_the_words_stand_after_the_persona() -> None:
    engine = ThinkingEngine()
    words = "Think first.[THINK]Thoughts.[/THINK]Then answer."
    known = Thinking("on", words=words)
    settings = ReplySettings(SamplingParams(0), Instructions.of(["Be kind."], "You are Basil."), thinking=known)
    said(Chat(), engine, settings)
    vocabulary = engine.tokenizer
    system = vocabulary.encode("Be kind.\n\nYou are Basil.\n\nThink first.")
    control: Callable[[str], Any] = vocabulary.control_id
    expected = [control("<s>"), control("[SYSTEM_PROMPT]"), *system]
    expected += [control("[THINK]"), *vocabulary.encode("Thoughts."), control("[/THINK]")]
    expected += [*vocabulary.encode("Then answer."), control("[/SYSTEM_PROMPT]")]
    assert engine.prompts[0][: len(expected)] == expected


def iterated(chunks: Iterator[Chunk]) -> str:
    return "".join(chunk.thought for chunk in chunks)


def test_chunks_say_what_is_thought_and_what_is_answered(template: str) -> None:
    chunks = list(Chat().reply("A number?", ThinkingEngine(template), asked(template=template)))
    assert "".join(chunk.text for chunk in chunks) == ANSWER
    assert iterated(iter(chunks)).strip() == THOUGHT
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
