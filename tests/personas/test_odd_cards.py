"""Cards with a value of another kind in any field: the character is taken in, and what was left out is named."""

import contextlib
import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.errors import MennyError
from menny.personas.cards import alternate_greetings, card_of, persona_of
from menny.personas.files import render
from menny.personas.imports import read_import
from tests.personas import card_files as cards

SOUND = {"v1": cards.V1, "v2": cards.V2, "v3": cards.V3}


def with_value(path: tuple[str, ...], value: Any, sound: dict[str, Any] = cards.V2) -> dict[str, Any]:
    """A sound card with another value in one place."""
    card = copy.deepcopy(sound)
    holder = card
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return card


def of_data(key: str, value: Any) -> bytes:
    return cards.as_json(with_value(("data", key), value))


def raw(key: str, value: bytes) -> bytes:
    """A card with a value that Python doesn't write."""
    return of_data(key, "HERE").replace(b'"HERE"', value)


LONG = "One sentence of many. " * 2000  # 44,000 characters
BOOK = {"entries": [{"keys": ["moss"], "content": "x" * 1000} for _ in range(300)]}
DEEP = json.loads("[" * 25 + "]" * 25)

TAKEN_IN: dict[str, tuple[bytes, str]] = {  # the file, and the notice; none where nothing is missing
    "a deep tree": (of_data("x", DEEP), "part of its x was left out, as it is nested too deep"),
    "a huge number": (raw("x", b"1e999"), "part of its x was left out, as it has a number that can't be kept"),
    "a number without end": (raw("x", b"9" * 5000), "part of its x .* can't be kept"),
    "not a number": (raw("extensions", b'{"a": NaN}'), "part of its extensions was left out, as it has a number"),
    "infinity": (raw("character_version", b"-Infinity"), "part of its character_version"),
    "a number for a text": (of_data("scenario", 5), ""),
    "a tree for a text": (of_data("personality", {"a": 1}), "its personality was left out, as it isn't text"),
    "lines for a text": (of_data("description", ["She heals.", "She waits."]), ""),
    "nothing for a text": (of_data("scenario", None), ""),
    "a text for greetings": (of_data("alternate_greetings", "hello"), ""),
    "a null among the greetings": (of_data("alternate_greetings", ["hello", None]), ""),
    "a tree among the greetings": (of_data("alternate_greetings", ["hello", {}]), "1 of its 2 other greetings"),
    "a tree for greetings": (of_data("alternate_greetings", {"a": 1}), "its other greetings were left out"),
    "a text for tags": (of_data("tags", "fantasy, forest"), ""),
    "numbers for tags": (of_data("tags", [1, None]), ""),
    "a number for the version": (of_data("character_version", 1.0), ""),
    "a list for the creator": (of_data("creator", []), ""),
    "a list for extensions": (of_data("extensions", []), ""),
    "a full list for extensions": (of_data("extensions", [1]), ""),
    "a text for extensions": (of_data("extensions", "x"), ""),
    "a text for the lorebook": (of_data("character_book", "x"), ""),
    "a number for the nickname": (of_data("nickname", 3), ""),
    "a blank name": (of_data("name", "  "), "its card has no name, so it is called Odd one"),
    "an unseen name": (of_data("name", "\u200b"), "its card has no name, so it is called Odd one"),
    "no name": (of_data("name", None), "its card has no name, so it is called Odd one"),
    "a number for a name": (of_data("name", 7), ""),
    "a long name": (of_data("name", "x" * 5000), ""),
    "our own field, wrong": (
        of_data("extensions", {"menny": {"parameters": {"temperature": 9}, "tagline": "Ours"}}),
        "its value of 'parameters' for Menny was left out",
    ),
    "our own field, a text": (of_data("extensions", {"menny": "x"}), ""),
    "a long description": (of_data("description", LONG), "its text was cut to 32,000 of 44,"),
    "a long closing": (of_data("post_history_instructions", LONG), "its text was cut to 32,000"),
    "a long greeting": (of_data("first_mes", LONG), "its greeting was cut to 8,000 of 43,999 characters"),
    "a long other greeting": (of_data("alternate_greetings", [LONG]), ""),
    "a long exchange": (
        of_data("mes_example", "<START>\n{{user}}: Why?\n{{char}}: " + "x" * 5000),
        "1 of its 1 example exchanges were left out",
    ),
    "many exchanges": (of_data("mes_example", "{{user}}: a\n{{char}}: b\n" * 40), "of its 40 example exchanges"),
    "a heavy lorebook": (of_data("character_book", BOOK), ""),
    "a heavy lorebook of nothing": (
        of_data("character_book", {"entries": ["x" * 300_000]}),
        "its lorebook was left out",
    ),
    "a lorebook with an empty key": (
        of_data("character_book", {"entries": [{"keys": [""]}]}),
        "in its lorebook, an empty",
    ),
    "heavy assets": (
        of_data("assets", [{"type": "background", "uri": "data:image/png;base64," + "A" * 3_000_000}]),
        "its list of assets was left out, as it takes 3.0 MB",
    ),
    "a heavy extension": (of_data("extensions", {"book": BOOK, "a": 1}), "its book was left out"),
    "many greetings": (of_data("alternate_greetings", ["x" * 2000] * 100), r"\d+ of its 100 other greetings"),
    "one heavy greeting": (of_data("alternate_greetings", ["x" * 200_000]), "1 of its 1 other greetings"),
    "a heavy text": (of_data("description", "x" * 200_000), "its card wasn't kept, as it is too large"),
    "short lines without end": (of_data("creator_notes", "a\n" * 30_000), "(?s).*|left out"),
    "fields without end": (
        of_data("extensions", {f"k{number}": "v" * 20 for number in range(20_000)}),
        r"\d\d,\d\d\d more of its fields were left out",
    ),
    "greetings without end": (of_data("alternate_greetings", ["x"] * 100_000), "of its 100,000 other greetings were"),
    "an endless key": (of_data("extensions", {"k" * 200: 1}), "a key in it is too long"),
    "a key of two lines": (of_data("extensions", {"a\nb": 1}), "a key in it is too long"),
    "keys that become one": (of_data("extensions", {"a": 1, "a\0": 2}), "stands there twice"),
    "a control character": (of_data("description", "a\0b\x07c"), ""),
    "half a character": (of_data("description", "a\ud83d"), ""),
    "a tab in a text": (raw("description", b'"a\tb"'), ""),
    "no data, and version 1 beside it": (cards.as_json({"spec": "chara_card_v2", **cards.V1}), ""),
    "empty data, and version 1 beside it": (cards.as_json({"spec": "chara_card_v2", "data": {}, **cards.V1}), ""),
    "data that is null": (cards.as_json({"spec": "chara_card_v3", "data": None, **cards.V1}), ""),
    "a spec that is null": (cards.as_json({"spec": None, "data": cards.V1}), ""),
    "a spec that is a number": (cards.as_json({"spec": 3, "data": cards.V1}), ""),
    "only a system prompt": (cards.as_json({"data": {"name": "A", "system_prompt": "You are A."}}), ""),
    "UTF-16": (json.dumps(cards.V2).encode("utf-16"), ""),
    "a byte order mark": (b"\xef\xbb\xbf" + cards.as_json(cards.V2), ""),
}


@pytest.mark.parametrize(("data", "notice"), TAKEN_IN.values(), ids=TAKEN_IN)
def test_an_odd_card_is_taken_in_with_a_notice_of_what_was_left_out(data: bytes, notice: str) -> None:
    imported = read_import("odd_one.json", data)
    persona = imported.persona
    assert all(one.startswith(f"{persona.name}: ") and one.endswith(".") for one in imported.notices)
    assert all(len(one) < 300 and len(one.splitlines()) == 1 for one in imported.notices)
    if notice:
        assert any(re.search(notice, one) for one in imported.notices), imported.notices
    else:
        assert imported.notices == ()
    assert len(render(persona).encode()) <= 256 * 1024
    for version in (2, 3):
        again = persona_of(json.loads(json.dumps(card_of(persona, 3 if version == 3 else 2))))
        assert again.model_dump(exclude={"extensions"}) == persona.model_dump(exclude={"extensions"})


def test_what_is_left_out_is_the_largest_and_the_rest_is_kept() -> None:
    assets = [{"type": "background", "uri": "A" * 300_000}]
    out = card_of(read_import("x.json", of_data("assets", assets)).persona, 2)["data"]
    assert "assets" not in out
    assert {key: out[key] for key in out if key in cards.V2["data"]} == {**cards.V2["data"], "character_book": None}
    greeting = read_import("x.json", of_data("alternate_greetings", ["x" * 2000] * 100)).persona
    assert 20 < len(card_of(greeting, 2)["data"]["alternate_greetings"]) < 100


def test_a_text_is_cut_where_a_sentence_or_paragraph_ends() -> None:
    paragraphs = "\n\n".join(f"Paragraph {number}. " + "word " * 50 for number in range(60))
    greeting = read_import("x.json", of_data("first_mes", paragraphs)).persona.greeting
    assert 6000 < len(greeting) <= 8000
    assert paragraphs.startswith(greeting)
    assert greeting.endswith("word")


def places(card: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a card and of the objects in it."""
    for key, value in card.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["", " ", "\u200b", "{{char}}", "<START>", LONG, "x" * 140_000]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=20), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = [(name, path) for name, card in SOUND.items() for path in [*places(card), ("data",), ("new",), ("spec",)]]
KINDS: list[Any] = [
    None,
    True,
    False,
    0,
    1.5,
    "",
    "text",
    [],
    ["a"],
    [None],
    {},
    {"a": 1},
    [[1]],
    10**400,
    float("nan"),
]


@pytest.mark.parametrize(("name", "path"), PLACES, ids=lambda one: one if isinstance(one, str) else ".".join(one))
def test_every_kind_of_value_in_every_field_gives_a_character_or_a_sentence(name: str, path: tuple[str, ...]) -> None:
    refused: list[tuple[str, str]] = []
    for value in KINDS:
        card = with_value(path, value, SOUND[name])
        try:
            data = json.dumps(card).encode()
        except ValueError:  # Python writes no number of so many digits
            data = json.dumps(with_value(path, "HERE", SOUND[name])).replace('"HERE"', "9" * 5000).encode()
        try:
            imported = read_import("odd.json", data)
        except MennyError as error:
            refused.append((path[-1], str(error)))
            continue
        assert imported.persona.name
        render(imported.persona)
        alternate_greetings(imported.persona)
        json.dumps(card_of(imported.persona, 3), allow_nan=False)
    assert {key for key, _ in refused} <= {"data", "spec", "description"}  # nothing else decides whether it is one
    assert all(len(sentence.splitlines()) == 1 for _, sentence in refused)


@given(st.sampled_from(PLACES), JSON, st.sampled_from(PLACES), JSON)
def test_whatever_stands_in_two_fields_gives_a_character_that_can_be_kept(
    one: tuple[str, tuple[str, ...]], value: Any, other: tuple[str, tuple[str, ...]], second: Any
) -> None:
    card = with_value(one[1], value, SOUND[one[0]])
    with contextlib.suppress(KeyError, TypeError):  # where the place went with the first value
        card = with_value(other[1], second, card)
    try:
        imported = read_import("odd.json", json.dumps(card).encode())
    except MennyError:
        return
    assert len(render(imported.persona).encode()) <= 256 * 1024
    json.dumps(card_of(imported.persona, 2), allow_nan=False).encode()
