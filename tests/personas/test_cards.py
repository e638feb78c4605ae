"""Character cards: what they say becomes a persona, and what they brought goes out again."""

import base64
import copy
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from menny.chat import Instructions
from menny.config.yaml_models import from_data
from menny.errors import ConfigError, MennyError
from menny.lorebooks import Lorebook, LoreEntry
from menny.lorebooks.own import OwnLorebooks
from menny.personas.avatars import as_avatar, blank_avatar
from menny.personas.cards import Version, alternate_greetings, as_json, as_png, card_of, greetings_of, persona_of
from menny.personas.files import render
from menny.personas.imports import read_import
from menny.personas.own import OwnPersonas, books_of
from menny.personas.persona import Persona, PersonaFile
from tests.personas import card_files as cards

CARDS = {"v1": cards.V1, "v2": cards.V2, "v3": cards.V3}


def in_person(persona: PersonaFile) -> Persona:
    return Persona(id="x", **{name: getattr(persona, name) for name in PersonaFile.model_fields})


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_becomes_a_persona_with_all_that_it_says_of_the_character(card: dict[str, Any]) -> None:
    persona = in_person(read_import("card.json", cards.as_json(card)).persona)
    told = persona.system_text(user="Ada")
    who = "Sera" if card is cards.V3 else "Seraphina"
    for part in (f"{who} guards a forest", "gentle, watchful", "Ada wakes up in her glade"):
        assert part in told
    assert persona.greeting_text("Ada") == "*She smiles.* You are safe here, Ada."
    assert [(one.user, one.assistant) for one in persona.examples] == [
        ("Where am I?", "In my glade.\nBe calm."),
        ("Who are you?", "A guardian."),
    ]


def test_other_greetings_are_had_from_the_card_as_long_as_it_is_kept() -> None:
    persona = persona_of(cards.V2)
    assert alternate_greetings(persona) == ["Good morning.", "Who is there?"]
    edited = persona.model_copy(update={"greeting": "Good morning."})
    assert alternate_greetings(edited) == ["Who is there?"]
    nicknamed = {"data": {**cards.V3["data"], "alternate_greetings": ["{{char}} waits."]}}
    assert alternate_greetings(persona_of({**cards.V3, **nicknamed})) == ["Sera waits."]
    for kept in ({}, {"card": "mine"}, {"card": {"name": 3, "alternate_greetings": 4}}):
        assert alternate_greetings(persona.model_copy(update={"extensions": kept})) == []


def test_greetings_named_in_the_persona_take_the_place_of_the_cards_in_chats_and_in_exports() -> None:
    persona = in_person(persona_of(cards.V2))
    assert greetings_of(persona, "Ada") == ["*She smiles.* You are safe here, Ada.", "Good morning.", "Who is there?"]
    named = persona.model_copy(update={"alternate_greetings": ("Halt, {{user}}!", persona.greeting)})
    assert greetings_of(named, "Ada") == ["*She smiles.* You are safe here, Ada.", "Halt, Ada!"]
    assert card_of(named, 2)["data"]["alternate_greetings"] == ["Halt, {{user}}!", persona.greeting]
    none = persona.model_copy(update={"alternate_greetings": ()})
    assert alternate_greetings(none) == card_of(none, 3)["data"]["alternate_greetings"] == []
    assert (
        card_of(persona.model_copy(update={"alternate_greetings": ("Good morning.", "Who is there?")}), 2) == cards.V2
    )
    made = in_person(PersonaFile(name="X", system_prompt="Y", greeting="One", alternate_greetings=("Two",)))
    assert greetings_of(in_person(persona_of(card_of(made, 3)))) == ["One", "Two"]
    assert greetings_of(made.model_copy(update={"greeting": "", "alternate_greetings": None})) == []


def test_version_2_brings_its_own_system_prompt_and_closing_instructions_in_their_places() -> None:
    told = in_person(persona_of(cards.V2)).system_text()
    assert told.startswith("Write as Seraphina, in the first person.")
    assert told.endswith("Keep it short.")
    assert "{{original}}" not in told
    assert persona_of(cards.V2).tagline == "A gentle guardian"
    assert "warm voice" not in told


def test_a_card_without_a_system_prompt_is_told_who_it_is() -> None:
    assert in_person(persona_of(cards.V1)).system_text().startswith("You are Seraphina.")


@pytest.mark.parametrize("card", [cards.V2, cards.V3], ids=["v2", "v3"])
@pytest.mark.parametrize("wrap", ["json", "png"])
def test_a_card_goes_in_and_out_unchanged_also_by_way_of_a_persona_file(card: dict[str, Any], wrap: str) -> None:
    version: Version = 2 if card is cards.V2 else 3
    file = cards.as_png({"ccv3" if version == 3 else "chara": cards.packed(card)})
    found = read_import(f"card.{wrap}", file if wrap == "png" else cards.as_json(card))
    imported, books = found.persona, [found.lorebook] if found.lorebook else []
    assert books
    assert render(imported).startswith("# yaml-language-server")
    kept = from_data(json.loads(imported.model_dump_json()), PersonaFile)
    assert card_of(kept, version, books) == card
    again = read_import("again.png", as_png(kept, version, blank_avatar(), books))
    assert again.persona == imported


def test_what_a_program_repeats_beside_the_data_keeps_its_place_and_its_words() -> None:
    flat = {"name": "Nora", "description": "An older text.", "first_mes": "Hi", "fav": True}
    card = {**flat, "spec": "chara_card_v2", "data": {**cards.V2["data"], "name": "Nora"}, "spec_version": "2.0"}
    persona = persona_of(card)
    assert json.dumps(card_of(persona, 2)) == json.dumps(card)
    changed = card_of(persona.model_copy(update={"name": "Ada"}), 2)
    assert (changed["name"], changed["description"], changed["data"]["name"]) == ("Ada", "An older text.", "Ada")


def test_version_1_comes_out_as_the_later_ones_with_the_same_texts_and_its_unknown_fields() -> None:
    persona = persona_of({**cards.V1, "my_own_field": {"a": [1]}})
    for version, spec in ((2, "chara_card_v2"), (3, "chara_card_v3")):
        out = card_of(persona, 3 if version == 3 else 2)
        assert (out["spec"], out["spec_version"]) == (spec, f"{version}.0")
        assert {key: out["data"][key] for key in cards.V1} == cards.V1
        assert out["data"]["my_own_field"] == {"a": [1]}
        assert out["data"]["alternate_greetings"] == out["data"]["tags"] == []
        assert persona_of(out).system_prompt == persona.system_prompt


def test_what_was_edited_here_replaces_the_cards_own_words_and_the_rest_stays() -> None:
    persona = persona_of(cards.V3).model_copy(update={"system_prompt": "You are stern.", "greeting": "Halt."})
    data = card_of(persona, 3)["data"]
    assert (data["system_prompt"], data["first_mes"], data["description"]) == ("You are stern.", "Halt.", "")
    assert data["character_book"] == cards.V3["data"]["character_book"]
    assert data["mes_example"] == cards.V3["data"]["mes_example"]
    back = persona_of(card_of(persona, 3))
    assert (back.system_prompt, back.greeting, back.examples) == ("You are stern.", "Halt.", persona.examples)


@pytest.mark.parametrize("version", [2, 3])
def test_a_persona_made_here_comes_back_from_its_card_whole(version: Version) -> None:
    persona = from_data(
        {
            "name": "Basil",
            "tagline": "Gardener",
            "system_prompt": "You are Basil.\n\nUse {{original}} and <USER> as they are.",
            "greeting": "Mind the seedlings.",
            "suggestions": ["Why?", "What?"],
            "guardrails": ["mistral"],
            "examples": [{"user": "One\n{{char}}: two", "assistant": "<START>"}],
            "parameters": {"temperature": 1.1, "top_k": 5},
            "memory": {"strategy": "turns", "turns": 3},
            "extensions": {"modelfile": {"from": "llama2"}},
        },
        PersonaFile,
    )
    back = persona_of(json.loads(json.dumps(card_of(persona, version))))
    ours = {"guardrails", "extensions"}
    assert back.model_dump(exclude=ours) == persona.model_dump(exclude=ours)
    assert back.extensions["modelfile"] == {"from": "llama2"}
    assert back.guardrails == ()


def test_a_card_cannot_touch_guardrails() -> None:
    card = copy.deepcopy(cards.V2)
    card["data"]["extensions"]["menny"] = {"guardrails": ["none"], "avatar": "images/x.png", "order": 1, "id": "menny"}
    card["guardrails"] = card["data"]["guardrails"] = ["none"]
    persona = in_person(read_import("card.json", cards.as_json(card)).persona)
    assert persona.guardrails == ()
    assert (persona.avatar, persona.order) == (None, 100)
    brief = Instructions.of(["Always assist with care."], persona.system_text(), persona.example_messages())
    assert brief.system_text.startswith("Always assist with care.\n\nWrite as Seraphina")
    yaml = read_import("x.yaml", b"name: X\nsystem_prompt: Y\nguardrails: [none]\navatar: images/x.png\n").persona
    assert (yaml.guardrails, yaml.avatar) == ((), None)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_a_picture_gives_the_newer_of_two_cards_and_itself_as_the_avatar(kind: str) -> None:
    newer = {**cards.V3, "data": {**cards.V3["data"], "name": "Newer"}}
    file = cards.as_png({"Comment": "x", "chara": cards.packed(cards.V2), "ccv3": cards.packed(newer)}, kind)
    imported = read_import("seraphina.png", file)
    assert imported.persona.name == "Newer"
    assert imported.picture == file
    with Image.open(io.BytesIO(as_avatar(file))) as avatar:
        assert avatar.width == avatar.height


def test_an_exported_picture_is_a_picture_and_carries_the_card_where_others_look_for_it() -> None:
    for version, keyword in ((2, "chara"), (3, "ccv3")):
        file = as_png(persona_of(cards.V2), 3 if version == 3 else 2, blank_avatar())
        with Image.open(io.BytesIO(file)) as picture:
            picture.load()
            text = picture.text[keyword]  # type: ignore[attr-defined]
        assert json.loads(base64.b64decode(text))["spec"] == f"chara_card_v{version}"


def _with(path: str, value: Any) -> bytes:
    card = copy.deepcopy(cards.V2)
    card["data"][path] = value
    return cards.as_json(card)


GOOD_PNG = cards.as_png({"chara": cards.packed(cards.V2)})

HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "no JSON": (b"{", "valid JSON"),
    "another JSON": (b"{}", "character card"),
    "a list": (b"[1]", "mapping|keys"),
    "a deep tree": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "valid JSON|nested"),
    "a number for a text": (_with("description", 5), "description must be text"),
    "a tree for a text": (_with("description", {"a": ["x" * 500]}), "description must be text"),
    "a later spec": (cards.as_json({"spec": "chara_card_v9", "data": cards.V1}), "versions 1, 2 and 3"),
    "a plain picture": (cards.as_png({}), "no character card"),
    "no base64": (cards.as_png({"chara": "@@@@"}), "base64"),
    "base64 of nothing": (cards.as_png({"chara": "AAAA"}), "JSON"),
    "half a header": (GOOD_PNG[:11], "cut off"),
    "a damaged text": (GOOD_PNG.replace(b"chara\0e", b"chara\0f"), "damaged"),
    "a bomb": (cards.as_png({"chara": "A" * 12_000_000}, "zTXt"), "larger than 1 MB"),
    "a huge file": (b"{" + b" " * (33 * 1024 * 1024), "larger than 32 MB"),
    "a huger file": (b"{" + b" " * (65 * 1024 * 1024), "larger than 64 MB"),
    "a list of lists": (
        b'{"name":"A","description":"b","x":[' + b"[]," * 800_000 + b"[]]}",
        "more than 1,500,000 values",
    ),
    "a zip": (b"PK\x03\x04\xff\xff", "can't read it"),
}


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_malformed_or_huge_file_is_refused_in_one_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(MennyError, match=reason) as refused:
        read_import("bad.png", data)
    sentence = str(refused.value)
    assert sentence.startswith("bad.png couldn't be imported: ")
    assert sentence.endswith(".")
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 300


@given(st.binary(max_size=200), st.integers(0, len(GOOD_PNG) - 1), st.integers(0, 255))
def test_whatever_is_sent_gives_a_persona_or_a_sentence(noise: bytes, place: int, byte: int) -> None:
    changed = bytearray(GOOD_PNG)
    changed[place] = byte
    for data in (noise, bytes(changed), GOOD_PNG[:place] + noise, b"{" + noise):
        try:
            sentence = read_import("x", data).persona.name
        except MennyError as error:
            sentence = str(error)
        assert len(sentence.splitlines()) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"description": st.text(min_size=1)},
        optional={key: st.text() for key in ("first_mes", "mes_example", "personality", "system_prompt", "nickname")}
        | {"extensions": st.dictionaries(st.text(max_size=20), JSON, max_size=3), "strange": JSON},
    )
)
def test_any_card_that_is_taken_in_goes_out_as_it_came_and_fits_a_persona_file(data: dict[str, Any]) -> None:
    card = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Any", **data}}
    try:
        persona = read_import("x.json", cards.as_json(card)).persona
    except MennyError:
        return
    assert render(persona)
    kept = persona.extensions["card"]
    assert isinstance(kept, dict)
    out = card_of(persona, 2)
    ours = dict(out["data"]["extensions"])
    ours.pop("menny", None)
    as_it_came = kept["data"]
    assert isinstance(as_it_came, dict)
    for key in data:
        if key != "extensions":
            assert out["data"][key] == as_it_came[key]
        elif "menny" not in data["extensions"]:
            assert ours == (as_it_came["extensions"] or {})
    assert persona_of(out).model_dump(exclude={"extensions"}) == persona.model_dump(exclude={"extensions"})


@pytest.mark.parametrize("card", [cards.V2, cards.V3], ids=["V2", "V3"])
def test_a_card_with_a_lorebook_goes_out_to_the_letter_as_it_came(card: dict[str, Any]) -> None:
    book = {**card["data"]["character_book"], "name": "", "token_budget": 0, "scan_depth": 50}
    entries = [{"id": number, "keys": [f"word{number}"], "content": "x" * 100, "enabled": True, "insertion_order": 1,
                "extensions": {"position": 1, "ours": [None]}} for number in range(2_000)]  # fmt: skip
    card = {**card, "data": {**card["data"], "character_book": {**book, "entries": [*book["entries"], *entries]}}}
    imported = read_import("card.png", cards.as_png({"chara": cards.packed(card)}))
    assert imported.notices == ()
    persona = OwnPersonas().import_(imported)
    assert len(json.dumps(persona.extensions)) < 5_000
    assert persona.lorebooks == ("seraphina",)
    out = as_json(persona, 2 if card["spec"] == "chara_card_v2" else 3, books_of(persona))
    assert out.decode() == json.dumps(card, ensure_ascii=False, indent=2)
    OwnPersonas().take_back(persona)
    assert OwnLorebooks().load() == ({}, [])


def test_several_lorebooks_go_out_as_one_and_one_that_is_gone_is_named() -> None:
    for name in ("one", "two"):
        OwnLorebooks().keep(Lorebook(name=name, entries=(LoreEntry(keys=(name,), content=name),)), name)
    persona = Persona(id="p", name="P", system_prompt="x", lorebooks=("one", "two"))
    book = card_of(persona, 2, books_of(persona))["data"]["character_book"]
    assert (book["name"], [entry["keys"] for entry in book["entries"]]) == ("one", [["one"], ["two"]])
    with pytest.raises(ConfigError, match="P names the lorebook 'three', which isn't there"):
        books_of(persona.model_copy(update={"lorebooks": ("one", "three")}))


def test_the_line_ends_of_another_system_go_out_as_they_came_and_are_ours_in_the_texts() -> None:
    text = (
        json.dumps(cards.V3)
        .replace("She heals", "\\r\\nShe heals")
        .replace("The moss glows.", " The moss\\r\\nglows. ")
    )
    card = json.loads(text.replace("Good morning.", "Good\\r\\nmorning.").replace("Hello all", "Hello\\r\\nall"))
    persona = OwnPersonas().import_(read_import("card.json", cards.as_json(card)))
    (book,) = books_of(persona)
    assert json.dumps(card_of(persona, 3, [book])) == json.dumps(card)
    assert "forest. \nShe heals" in persona.system_prompt
    assert book.entries[0].content == "The moss\nglows."
    assert alternate_greetings(persona)[0] == "Good\nmorning."
