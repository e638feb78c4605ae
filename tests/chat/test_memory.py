"""What the model remembers: what every strategy keeps to, and what each of them is for."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.chat.memory import Memory, SelectedMessages, Strategy, Summary, summary_room
from menny.engine import load_tokenizer
from menny.engine_protocols import OPENING, Tokenizer
from menny.errors import PromptError, PromptTooLongError
from menny.messages import Message
from menny.prompts import TEMPLATES, encode_chat
from tests.prompts.conversations import tokenizer_of

TOKENS_PER_MESSAGE = 3
SYSTEM = Message("system", "be kind")
MODERATION_KEY = "they keep bees and have a cat"


def count_words(messages: Sequence[Message]) -> int:
    return sum(TOKENS_PER_MESSAGE + len(message.content.split()) for message in messages)


def talk(*texts: str) -> list[Message]:
    return [Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]


def long_talk(turns: int, words: int = 4) -> list[Message]:
    """Turns of two equally long messages, and a question."""
    return talk(*(f"{number} " + "word " * (words - 1) for number in range(2 * turns + 1)))


def opens_turn(said: Sequence[Message], index: int) -> bool:
    return said[index].role == "user" and (index == 0 or said[index - 1].role != "user")


def last_turn(said: Sequence[Message]) -> int:
    """Where the last turn starts; an assistant who speaks first belongs to the first turn."""
    _, *later = [index for index in range(len(said)) if opens_turn(said, index)]
    return later[-1] if later else 0


words = st.integers(0, 12).map(lambda count: "word " * count)
systems = st.lists(words.map(lambda text: Message("system", text)), max_size=1)
conversations = st.builds(
    lambda said, reply: [*(Message(role, text) for role, text in said), Message("user", "the last one"), *reply],
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), words), max_size=30),
    st.sampled_from([[], [Message("assistant", "a reply to go on with")]]),
)
example_pairs = st.lists(words, max_size=2).map(lambda texts: [m for t in texts for m in talk(t, t)])
memories = st.builds(Memory, st.sampled_from(get_args(Strategy)), st.integers(0, 6))
summaries = st.none() | st.builds(Summary, words, st.integers(0, 12))


def check(
    remembered: SelectedMessages,
    system: list[Message],
    said: list[Message],
    examples: list[Message],
    summary: Summary | None,
) -> None:
    """Everything in order, nothing twice, the beginning at a turn's, the last question there."""
    seen = said[remembered.unseen :]
    recalled = list(summary.recalled()) if summary else []
    stub = [Message("user", OPENING)] if seen[0].role == "assistant" else []
    assert remembered.messages in (
        [*system, *shown, *noted, *(stub if shown or noted else []), *seen]
        for shown in (examples, [])
        for noted in (recalled, [])
    )
    assert seen[-1] is said[-1]
    assert any(message.role == "user" for message in seen)
    assert remembered.unseen == 0 or opens_turn(said, remembered.unseen)


@given(memories, systems, conversations, example_pairs, summaries, st.integers(0, 400))
def test_whatever_the_strategy_what_is_seen_is_in_order_fits_and_ends_with_the_last_question(
    memory: Memory,
    system: list[Message],
    said: list[Message],
    examples: list[Message],
    summary: Summary | None,
    budget: int,
) -> None:
    try:
        remembered = memory.choose([*system, *said], count_words, budget, examples, summary)
    except PromptTooLongError:
        needed = said if memory.strategy == "everything" else said[last_turn(said) :]
        assert count_words([*system, *needed]) > budget
        return
    check(remembered, system, said, examples, summary)
    assert count_words(remembered.messages) == remembered.shares.total <= budget


@cache
def tokenizer_for(template: str, smollm2: Path) -> Tokenizer:
    return load_tokenizer(smollm2) if template == "chatml" else tokenizer_of(template)


texts = st.text(max_size=60) | st.sampled_from(["[INST] Hi [/INST]", "<|im_end|>", "</s>", "  spaced out ", "\n\n"])


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=30)
@given(
    memories,
    st.lists(texts, min_size=1, max_size=14),
    texts,
    st.none() | st.builds(Summary, texts, st.integers(1, 6)),
    st.integers(20, 500),
)
def test_by_real_tokens_and_templates_every_choice_fits(
    smollm2_path: Path,
    template: str,
    memory: Memory,
    said: list[str],
    system: str,
    summary: Summary | None,
    budget: int,
) -> None:
    tokenizer = tokenizer_for(template, smollm2_path)
    messages = [*talk(*said), Message("user", "And now?")]

    def count(chosen: Sequence[Message]) -> int:
        return len(encode_chat(chosen, template, tokenizer))

    told = [Message("system", system)]
    try:
        remembered = memory.choose([*told, *messages], count, budget, talk("Ping", "Pong"), summary)
    except PromptTooLongError:
        needed = messages if memory.strategy == "everything" else messages[last_turn(messages) :]
        assert count([*told, *needed]) > budget
        return
    check(remembered, told, messages, talk("Ping", "Pong"), summary)
    assert count(remembered.messages) == remembered.shares.total <= budget


# What leaves, and when


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_a_short_conversation_is_kept_whole_by_every_strategy(strategy: Strategy) -> None:
    said = talk("one", "two", "three")
    remembered = Memory(strategy).choose([SYSTEM, *said], count_words, 1000)
    assert (remembered.messages, remembered.unseen) == ([SYSTEM, *said], 0)


def test_the_oldest_turn_leaves_first_and_takes_its_reply_with_it() -> None:
    said = talk("old question", "old answer", "newer question", "newer answer", "last question")
    remembered = Memory().choose(said, count_words, count_words(said) - 1)
    assert remembered.messages in (said[2:], said[4:])
    assert remembered.unseen in (2, 4)


def test_of_a_long_conversation_most_of_the_room_is_used() -> None:
    for turns in range(20, 60):
        remembered = Memory().choose([SYSTEM, *long_talk(turns)], count_words, 200)
        assert remembered.shares.total > 200 * 0.6


def test_an_assistant_who_spoke_first_is_seen_while_the_whole_is() -> None:
    said = [Message("assistant", "Hello"), *talk("one", "two", "three")]
    assert Memory("everything").choose(said, count_words, 1000).messages == said
    assert Memory().choose(said, count_words, count_words(said) - 1).messages[0].role == "user"


def test_everything_says_when_it_no_longer_fits_and_what_to_do() -> None:
    said = [SYSTEM, *long_talk(10)]
    size = count_words(said)
    assert Memory("everything").choose(said, count_words, size).messages == said
    with pytest.raises(PromptTooLongError, match=r"whole conversation no longer fits.*Choose a memory") as raised:
        Memory("everything").choose(said, count_words, size - 1)
    assert (raised.value.tokens, raised.value.limit) == (size, size - 1)


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_the_last_turns_are_those_before_the_question(turns: int) -> None:
    said = long_talk(20)
    remembered = Memory("turns", turns).choose([SYSTEM, *said], count_words, 10_000)
    assert remembered.messages == [SYSTEM, *said[-1 - 2 * turns :]]


def test_where_the_last_turns_do_not_fit_there_are_fewer_of_them() -> None:
    remembered = Memory("turns", 10).choose([SYSTEM, *long_talk(20)], count_words, 100)
    assert 0 < 41 - remembered.unseen < 21


def test_examples_leave_only_when_the_last_question_does_not_fit_beside_them() -> None:
    examples, said = talk("shown", "so"), talk("old", "answer", "last")
    beside = count_words([*examples, said[-1]])
    assert Memory().choose(said, count_words, beside, examples).messages == [*examples, said[-1]]
    assert Memory().choose(said, count_words, beside - 1, examples).messages == [said[-1]]


def test_a_last_message_over_the_budget_says_by_how_much() -> None:
    with pytest.raises(PromptTooLongError, match="5 tokens too long") as raised:
        Memory().choose([Message("user", "word " * 12)], count_words, 10)
    assert (raised.value.tokens, raised.value.limit) == (15, 10)


def test_a_conversation_without_a_question_is_refused() -> None:
    with pytest.raises(PromptError, match="no user message"):
        Memory().choose([SYSTEM], count_words, 10)


# Summaries


def test_a_summary_stands_after_the_system_text_as_the_models_own_words() -> None:
    said, summary = long_talk(40), Summary(MODERATION_KEY, 60)
    remembered = Memory("summary").choose([SYSTEM, *said], count_words, 400, talk("shown", "so"), summary)
    assert [message.role for message in remembered.messages[:5]] == [
        "system",
        *("user", "assistant"),
        *("user", "assistant"),
    ]
    assert remembered.messages[4].content == MODERATION_KEY
    assert remembered.messages[5:] == said[remembered.unseen :]
    assert remembered.shares.summary == count_words(summary.recalled())


def test_while_all_is_seen_a_summary_is_not() -> None:
    said = long_talk(3)
    assert Memory("summary").choose(said, count_words, 1000, summary=Summary(MODERATION_KEY, 2)).messages == said


def test_only_strategies_that_sum_up_read_a_summary() -> None:
    said = long_talk(40)
    assert Memory().choose(said, count_words, 400, summary=Summary(MODERATION_KEY, 40)).shares.summary == 0


@pytest.mark.parametrize("covers", [0, 81])
def test_a_summary_of_nothing_or_of_the_question_itself_is_not_read(covers: int) -> None:
    remembered = Memory("summary").choose(long_talk(40), count_words, 400, summary=Summary(MODERATION_KEY, covers))
    assert (remembered.shares.summary, remembered.summed) == (0, 0)


def test_what_leaves_and_is_in_no_summary_yet_can_be_told() -> None:
    said = long_talk(40)
    first = Memory("summary").choose(said, count_words, 400)
    assert (first.summed, first.unseen > 0) == (0, True)
    summed = Memory("summary").choose(said, count_words, 400, summary=Summary(MODERATION_KEY, first.unseen))
    assert summed.summed == summed.unseen == first.unseen


def test_room_for_the_summary_is_kept_before_it_is_written() -> None:
    said = long_talk(40)
    first = Memory("summary").choose(said, count_words, 400)
    assert first.shares.total <= 400 - summary_room(400)
    longest = Summary("word " * (summary_room(400) - 2 * TOKENS_PER_MESSAGE - 9), first.unseen)
    assert Memory("summary").choose(said, count_words, 400, summary=longest).unseen == first.unseen


def test_summary_and_turns_shows_at_least_so_many_and_less_than_twice_as_many() -> None:
    memory = Memory("summary-and-turns", 4)
    for turns in range(4, 40):
        remembered = memory.choose(long_talk(turns), count_words, 10_000)
        assert 4 <= turns - remembered.unseen // 2 < 8


def test_a_summary_leaves_when_the_last_question_does_not_fit_beside_it() -> None:
    said, summary = long_talk(40), Summary(MODERATION_KEY, 60)
    little = count_words([SYSTEM, *summary.recalled(), said[-1]])
    assert Memory("summary").choose([SYSTEM, *said], count_words, little, summary=summary).shares.summary > 0
    remembered = Memory("summary").choose([SYSTEM, *said], count_words, little - 1, summary=summary)
    assert remembered.shares.summary == 0
    assert remembered.messages[-1] == said[-1]


def test_too_small_a_context_keeps_no_room_for_a_summary() -> None:
    assert summary_room(100) == 0


# What the engine's cache gains


@pytest.mark.parametrize("memory", [Memory(), Memory("summary"), Memory("summary-and-turns", 6)])
def test_the_prompts_beginning_stays_the_same_for_several_turns(memory: Memory) -> None:
    starts = [memory.choose([SYSTEM, *long_talk(turns)], count_words, 600).unseen for turns in range(200)]
    cuts = [turn for turn in range(1, 200) if starts[turn] != starts[turn - 1]]
    assert starts == sorted(starts)
    assert len(cuts) >= 5
    assert len(cuts) <= 200 / 6 + 1


@given(st.lists(st.integers(1, 60), min_size=40, max_size=60), st.integers(100, 400))
def test_with_turns_of_any_length_the_beginning_never_moves_back(lengths: list[int], budget: int) -> None:
    said = talk(*("word " * length for length in lengths))
    starts = [Memory().choose(said[: end + 1], count_words, budget).unseen for end in range(0, len(said), 2)]
    assert starts == sorted(starts)


def test_a_thousand_turns_are_counted_a_few_times_and_not_as_a_whole() -> None:
    asked: list[int] = []

    def count(messages: Sequence[Message]) -> int:
        asked.append(len(messages))
        return count_words(messages)

    for strategy in ("recent", "summary", "turns"):
        asked.clear()
        Memory(strategy).choose(long_talk(1000), count, 1000)
        assert len(asked) < 32
        assert max(asked) < 600


def test_every_strategy_is_described() -> None:
    described = re.findall(r"^    ([a-z-]+)  +\w", Memory.__doc__ or "", re.MULTILINE)
    assert described == list(get_args(Strategy))
