"""What the model remembers: recent turns first, the system text and the last question always."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.errors import PromptError, PromptTooLongError
from menny.memory import fit
from menny.messages import Message

TOKENS_PER_MESSAGE = 3


def count_words(messages: Sequence[Message]) -> int:
    return sum(TOKENS_PER_MESSAGE + len(message.content.split()) for message in messages)


def talk(*texts: str) -> list[Message]:
    return [Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]


words = st.integers(0, 12).map(lambda count: "word " * count)
systems = st.lists(words.map(lambda text: Message("system", text)), max_size=1)
conversations = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), words), max_size=14).map(
    lambda said: [*(Message(role, text) for role, text in said), Message("user", "the last one")]
)
example_pairs = st.lists(words, max_size=2).map(lambda texts: [m for t in texts for m in talk(t, t)])


@given(systems, conversations, example_pairs, st.integers(0, 200))
def test_what_is_kept_fits_and_ends_with_the_last_question(
    system: list[Message], said: list[Message], examples: list[Message], budget: int
) -> None:
    try:
        fitted = fit([*system, *said], count_words, budget, examples)
    except PromptTooLongError:
        assert count_words([*system, *said[len(said) - length_of_last_turn(said) :]]) > budget
        return
    kept = said[fitted.dropped :]
    assert count_words(fitted.messages) <= budget
    assert fitted.messages in ([*system, *examples, *kept], [*system, *kept])
    assert fitted.messages[-1] is said[-1]
    assert kept[0].role == "user"


@given(systems, conversations, st.integers(0, 200))
def test_no_longer_memory_would_have_fitted(system: list[Message], said: list[Message], budget: int) -> None:
    try:
        fitted = fit([*system, *said], count_words, budget)
    except PromptTooLongError:
        return
    longer = [
        said[start:]
        for start in range(fitted.dropped)
        if said[start].role == "user" and (start == 0 or said[start - 1].role == "assistant")
    ]
    assert all(count_words([*system, *rest]) > budget for rest in longer)


def length_of_last_turn(said: list[Message]) -> int:
    """How many messages the last turn has: the user's messages that no reply separates."""
    tail = 0
    for message in reversed(said):
        if message.role != "user":
            break
        tail += 1
    return tail


def test_a_conversation_that_fits_is_kept_whole() -> None:
    said = talk("one", "two", "three")
    assert fit([Message("system", "be kind"), *said], count_words, 1000).messages[1:] == said


def test_the_oldest_turn_leaves_first_and_takes_its_reply_with_it() -> None:
    said = talk("old question", "old answer", "newer question", "newer answer", "last question")
    fitted = fit(said, count_words, count_words(said) - 1)
    assert fitted.messages == said[2:]
    assert fitted.dropped == 2


def test_examples_leave_only_when_the_last_question_does_not_fit_beside_them() -> None:
    examples, said = talk("shown", "so"), talk("old", "answer", "last")
    beside = count_words([*examples, said[-1]])
    assert fit(said, count_words, beside, examples).messages == [*examples, said[-1]]
    assert fit(said, count_words, beside - 1, examples).messages == [said[-1]]


def test_a_last_message_over_the_budget_says_by_how_much() -> None:
    with pytest.raises(PromptTooLongError, match="5 tokens too long") as raised:
        fit([Message("user", "word " * 12)], count_words, 10)
    assert (raised.value.tokens, raised.value.limit) == (15, 10)


def test_a_thousand_turns_are_counted_a_few_times_only() -> None:
    asked: list[int] = []

    def count(messages: Sequence[Message]) -> int:
        asked.append(len(messages))
        return count_words(messages)

    fit(talk(*(["some words"] * 2001)), count, 500)
    assert len(asked) < 15


def test_a_conversation_without_a_question_is_refused() -> None:
    with pytest.raises(PromptError, match="no message"):
        fit([Message("system", "be kind")], count_words, 10)
