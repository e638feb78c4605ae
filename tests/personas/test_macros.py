"""Macros: what each gives, that a draw stays as it fell, and that nobody's text is read as one."""

import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.personas.macros import THE_USER, Draws, expand

NAMES = {"user": "Ada", "char": "Bo"}
DRAWS = Draws("chat", datetime(2026, 11, 5, 16, 33))


def said(text: str, names: dict[str, str] | None = None, draws: Draws = DRAWS) -> str:
    return expand(text, names or NAMES, draws)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{user}} and {{Char}}, {{USER}}", "Ada and Bo, Ada"),
        ("It is {{time}} on {{Weekday}}, {{date}}.", "It is 4:33 PM on Thursday, November 5, 2026."),
        ("{{isodate}} {{isotime}}", "2026-11-05 16:33"),
        ("a{{newline}}b{{noop}}{{// not {{user}} sent }}c", "a\nbc"),
        ("a\n\n{{trim}}\n\n{{noop}}{{trim}}\nb", "ab"),
        ("{{random::{{user}}}} {{random: {{char}} }} {{pick::only}}", "Ada Bo only"),
        ("{{random:a\\, b}} {{random::a, b::a, b}}", "a, b a, b"),
        ("{{roll:1d1}} {{roll:d1}} {{roll 3d1+2}} {{ROLL:2d1-1}} {{roll::1}}", "1 1 5 1 1"),
        # what isn't a macro stays
        ("{{ user }} {user} {{other}} {{usr}} {{}} {{random}}", "{{ user }} {user} {{other}} {{usr}} {{}} {{random}}"),
        (
            "{{getvar::{{user}}}} {{roll:x}} {{roll:0d6}} {{roll:101d6}}",
            "{{getvar::Ada}} {{roll:x}} {{roll:0d6}} {{roll:101d6}}",
        ),
        ("{{user {{char}} }} }}{{", "{{user Bo }} }}{{"),
        ("{{{user}}} {{{{char}}}}", "{Ada} {{Bo}}"),
    ],
)
def test_each_macro_gives_what_it_stands_for(text: str, expected: str) -> None:
    assert said(text) == expected


def test_a_name_that_looks_like_a_macro_is_not_read_again_and_parts_no_list() -> None:
    names = {"user": "{{char}}, {{random::x::y}}", "char": "a::b,c"}
    assert said("{{user}}", names) == names["user"]
    assert said("{{random::{{char}}}} {{random:{{char}}}}", names) == "a::b,c a::b,c"
    assert said("{{other::{{user}}}}", names) == "{{other::" + names["user"] + "}}"


def test_a_draw_stays_as_it_fell_in_a_chat_and_differs_between_chats_and_places() -> None:
    text = "{{random::" + "::".join(map(str, range(1000))) + "}}"
    drawn = {said(text, draws=Draws(str(number))) for number in range(20)}
    assert len(drawn) > 15
    assert said(text) == said(text)
    assert expand(text, NAMES, DRAWS, "system") != expand(text, NAMES, DRAWS, "greeting")
    first, second = said(f"{text} {text}").split()
    assert first != second
    assert said(f"Before, edited. {text}").endswith(first)  # what stands around a macro doesn't change what it drew


def test_draws_are_fair() -> None:
    rolls = [int(said("{{roll:2d6}}", draws=Draws(str(number)))) for number in range(600)]
    assert set(rolls) == set(range(2, 13))
    assert 6.7 < sum(rolls) / len(rolls) < 7.3
    picked = [said("{{pick::a::b::c}}", draws=Draws(str(number))) for number in range(600)]
    assert all(150 < picked.count(letter) < 250 for letter in "abc")


def test_without_a_name_the_user_begins_a_sentence_with_a_capital() -> None:
    names = {"user": THE_USER, "char": "Bo"}
    text = "{{user}} talks. “{{user}}'s turn!” {{user}} asks {{user}}, {{char}} and {{user}}:\n{{user}}"
    assert said(text, names) == "The user talks. “The user's turn!” The user asks the user, Bo and the user:\nThe user"


@pytest.mark.parametrize(
    "bomb",
    [
        "{{" * 16_000,
        "}}" * 16_000,
        "{{user}}" * 4000,
        "{{random::" * 3000 + "a" + "}}" * 3000,
        "{{a" * 10_000,
        "{{roll:100d6}}" * 2000,
        "{{trim}}\n" * 3500,
        "{{random:" + "," * 31_000 + "}}",
    ],
    ids=lambda bomb: bomb[:9],
)
def test_a_bomb_of_macros_takes_little_time_and_room(bomb: str) -> None:
    start = time.process_time()
    assert len(expand(bomb, {"user": THE_USER, "char": "Bo"}, DRAWS)) <= 2 * len(bomb)
    assert time.process_time() - start < 2


@given(
    st.lists(st.sampled_from(["{{", "}}", "user", "random::", "::", ",", "x", "\n", "{", "trim", "//"]), max_size=30)
)
def test_any_text_is_taken_and_one_without_closed_macros_stays_as_it_is(parts: list[str]) -> None:
    text = "".join(parts)
    assert said(text) == said(text)
    assert "{{user}}" not in said(text)
    if "}}" not in text:
        assert said(text) == text
