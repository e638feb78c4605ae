"""A reply ends where its first stop string begins, however the text was cut into tokens."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from menny.engine.stop_strings import StopFinder


def through(stops: list[str], pieces: list[str]) -> tuple[list[str], str, bool]:
    """What comes out after each piece, what at the end, and whether a stop string was found."""
    finder = StopFinder(stops)
    out = [finder.add(piece) for piece in pieces]
    return out, finder.finish(), finder.found


def test_without_stop_strings_text_passes_at_once():
    assert through([], ["one ", "two", ""]) == (["one ", "two", ""], "", False)


def test_a_stop_string_and_all_behind_it_is_left_out():
    assert through(["STOP"], ["one STOP two", " three"]) == (["one ", ""], "", True)


def test_a_stop_string_split_over_tokens_is_found_and_none_of_it_shown():
    assert through(["</end>"], ["text <", "/e", "nd", "> more"]) == (["text ", "", "", ""], "", True)


def test_text_that_only_looked_like_a_stop_string_comes_once_that_is_clear():
    assert through(["User:"], ["a U", "s", "ual day"]) == (["a ", "", "Usual day"], "", False)


def test_a_beginning_within_a_beginning_is_held_back():
    assert through(["aab"], ["a", "a", "a", "b"]) == (["", "", "a", ""], "", True)


def test_an_unfinished_stop_string_at_the_end_is_ordinary_text():
    assert through(["\n\nUser"], ["fine.\n\n", "Us"]) == (["fine.", ""], "\n\nUs", False)


def test_a_stop_string_at_the_very_start_leaves_nothing():
    assert through(["x"], ["xyz"]) == ([""], "", True)


def test_of_two_stop_strings_the_one_that_begins_first_counts():
    assert through(["two", "one"], ["zero one two"]) == (["zero "], "", True)


def test_a_stop_string_within_a_longer_one_waits_for_the_longer_one():
    assert through(["abcd", "c"], ["xab", "c", "d"]) == (["x", "", ""], "", True)
    assert through(["abcd", "c"], ["xab", "c", "e"]) == (["x", "", "ab"], "", True)
    assert through(["abcd", "c"], ["xab", "c"]) == (["x", ""], "ab", True)


def test_a_stop_string_that_begins_another_ends_the_text_at_once():
    assert through(["ab", "abcd"], ["xa", "b"]) == (["x", ""], "", True)


def test_characters_beyond_the_basic_plane_are_whole():
    assert through(["🙂🙃"], ["a🙂", "b🙂", "🙃"]) == (["a", "🙂b", ""], "", True)


texts = st.text("ab<>", max_size=30)
cuts = st.lists(st.integers(0, 30), max_size=8)


@given(texts, st.lists(st.text("ab<>", min_size=1, max_size=4), max_size=3), cuts)
def test_joined_the_output_is_the_text_up_to_its_first_stop_string(text, stops, cuts):
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    out, rest, found = through(stops, [text[a:b] for a, b in pairwise(edges)])
    places = [text.find(stop) for stop in stops if stop in text]
    assert "".join(out) + rest == text[: min(places, default=len(text))]
    assert found == bool(places)


@given(texts, st.lists(st.text("ab<>", min_size=1, max_size=4), min_size=1, max_size=3))
def test_no_more_is_held_back_than_could_be_a_stop_string(text, stops):
    finder = StopFinder(stops)
    shown = ""
    for count, character in enumerate(text, 1):
        shown += finder.add(character)
        if not finder.found:
            held = text[len(shown) : count]
            assert not held or any(stop.startswith(held) and stop != held for stop in stops)
