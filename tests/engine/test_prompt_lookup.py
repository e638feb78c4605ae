"""Guesses are what followed the same words before, and a draft is made of them only where it promises to pay."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.engine.prompt_lookup import NGRAM, PASSES, Lookup

LONGEST_DRAFT = PASSES[-1] - 1


def free(tokens: int) -> float:
    return 1.0


def linear(tokens: int) -> float:
    return float(tokens)


def after(prompt: str, reply: str = "") -> Lookup:
    lookup = Lookup([ord(letter) for letter in prompt])
    for letter in reply:
        lookup.add(ord(letter))
    return lookup


def draft(lookup: Lookup, most: int = 100) -> str:
    return "".join(map(chr, lookup.draft(free, most)))


def test_what_followed_the_same_words_is_the_draft() -> None:
    assert draft(after("the quick brown fox jumps over. ", "the quick")) == " brown fox jump"


def test_without_the_same_words_there_is_none() -> None:
    assert draft(after("abcdefgh", "xyzvw")) == ""
    assert draft(after("", "")) == ""
    assert draft(after("ab")) == ""


def test_a_draft_goes_on_through_what_repeats_itself() -> None:
    assert draft(after("xyzxyzx")) == "yzxyzxyzxyzxyzx"
    assert draft(after("aaaa")) == "a" * LONGEST_DRAFT


def test_the_last_of_several_places_is_looked_at() -> None:
    assert draft(after("one two three; one two seven; ", "one two ")).startswith("seven")


def test_a_guess_that_came_true_goes_on_at_its_place() -> None:
    prompt = "the red cat sat on the mat; the big cat sat by the fire; "
    assert draft(after(prompt, "the red cat sat ")).startswith("on the mat")


def test_no_more_is_drafted_than_may_still_come() -> None:
    for most in range(20):
        assert len(draft(after("xyz" * 10), most)) <= most


def test_where_a_pass_costs_as_much_as_its_tokens_nothing_is_drafted() -> None:
    assert after("xyz" * 10).draft(linear, 100) == []


def test_dearer_passes_make_shorter_drafts_until_there_are_none() -> None:
    lookup = after("xyz" * 10, "xyz" * 20)
    lengths = [len(lookup.draft(lambda tokens, dear=dear: 1 + dear * (tokens - 1), 100)) for dear in (0, 0.5, 0.8, 1)]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (LONGEST_DRAFT, 0)


def costs_little(tokens: int) -> float:
    return 1 + 0.06 * (tokens - 1)


def drafted(lookup: Lookup, reply: Sequence[int]) -> list[int]:
    """The lengths of the drafts that are made along a reply."""
    lengths = []
    for place, token in enumerate(reply):
        lengths.append(len(lookup.draft(costs_little, len(reply) - place)))
        lookup.add(token)
    return lengths


def test_guesses_that_never_come_true_are_no_longer_drafted() -> None:
    reply = [token for turn in range(40) for token in (1, 2, 3, 100 + turn)]  # after 1 2 3 always something else
    lengths = drafted(Lookup([]), reply)
    assert any(lengths[:40])
    assert not any(lengths[60:])


def test_guesses_that_begin_to_come_true_are_drafted_again() -> None:
    reply = [token for turn in range(40) for token in (1, 2, 3, 100 + turn)]
    assert all(drafted(after("", ""), reply + [5, 6, 7, 8] * 40)[-40:-4])


tokens = st.lists(st.integers(0, 3), max_size=60)


@given(prompt=tokens, reply=tokens)
def test_a_draft_is_a_continuation_that_the_text_has_seen(prompt: list[int], reply: list[int]) -> None:
    lookup = Lookup(prompt)
    for token in reply:
        lookup.add(token)
    text = prompt + reply
    assert lookup.tokens == text
    guesses = lookup.draft(free, 100)
    assert len(guesses) in {0, *(tokens - 1 for tokens in PASSES)}
    seen = {tuple(text[i : i + NGRAM + 1]) for i in range(len(text) - NGRAM)}
    if guesses:
        assert (*text[-NGRAM:], guesses[0]) in seen


@pytest.mark.parametrize("length", [5000, 10000])
def test_a_long_prompt_is_taken_in_at_once(length: int) -> None:
    lookup = Lookup(list(range(length)))
    for token in range(10):
        lookup.add(token)
    assert lookup.draft(free, 3) == [10, 11, 12]
