"""Lorebooks of cards and of SillyTavern come in with a notice for what isn't used, and go out as they came."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.errors import ConfigError
from menny.lorebooks import Lorebook, LoreEntry
from menny.lorebooks.convert import card_book_of, lorebook_of
from menny.lorebooks.files import import_lorebook, load_lorebook, load_lorebooks, save_lorebook
from menny.lorebooks.world_info import world_info_of

CARD_BOOK: dict[str, Any] = {
    "name": "Eldoria",
    "description": "A forest.",
    "scan_depth": 4,
    "token_budget": 500,
    "recursive_scanning": True,
    "extensions": {"depth_prompt": {"depth": 4}},
    "entries": [
        {
            "keys": ["eldoria", "wood"],
            "content": "  {{char}} lives in the woods of Eldoria.\n",
            "extensions": {"position": 4, "depth": 4, "probability": 80, "useProbability": True, "selectiveLogic": 3},
            "enabled": True,
            "insertion_order": 7,
            "case_sensitive": False,
            "name": "The wood",
            "priority": 10,
            "id": 3,
            "comment": "The wood",
            "selective": True,
            "secondary_keys": ["forest"],
            "constant": False,
            "position": "before_char",
        },
        {
            "keys": [],
            "content": "Magic is weak here.",
            "extensions": {},
            "enabled": True,
            "insertion_order": 1,
            "constant": True,
        },
    ],
}
WORLD_INFO: dict[str, Any] = {
    "entries": {
        "0": {
            "uid": 0,
            "key": ["eldoria", "/wood(s|lands)?/i"],
            "keysecondary": ["old", "new"],
            "comment": "Wood",
            "content": "An old wood.",
            "constant": False,
            "selective": True,
            "selectiveLogic": 2,
            "order": 90,
            "position": 4,
            "disable": False,
            "excludeRecursion": True,
            "preventRecursion": True,
            "delayUntilRecursion": False,
            "probability": 40,
            "useProbability": True,
            "depth": 4,
            "scanDepth": 3,
            "caseSensitive": None,
            "matchWholeWords": False,
            "sticky": 2,
        },
        "1": {"uid": 1, "key": ["off"], "content": "Off.", "disable": True, "probability": 0, "useProbability": False},
    }
}


def test_a_cards_book_is_read_by_its_names() -> None:
    book, notices = lorebook_of(CARD_BOOK, "file")
    assert (book.name, book.scan_depth, book.token_budget, notices) == ("Eldoria", 4, 500, [])
    first, second = book.entries
    assert (first.name, first.keys, first.secondary_keys) == ("The wood", ("eldoria", "wood"), ("forest",))
    assert (first.content, first.order, first.probability) == ("{{char}} lives in the woods of Eldoria.", 7, 80)
    assert (first.selective_logic, second.constant, second.probability) == ("and all", True, 100)


def test_world_info_is_read_by_its_names_and_what_is_not_used_is_named() -> None:
    book, notices = lorebook_of(WORLD_INFO, "Woods")
    first, second = book.entries
    assert (book.name, first.keys, first.secondary_keys) == ("Woods", ("eldoria", "/wood(s|lands)?/i"), ("old", "new"))
    assert (first.selective_logic, first.order, first.probability, first.scan_depth) == ("not any", 90, 40, 3)
    assert (first.match_whole_words, first.exclude_recursion, first.prevent_recursion) == (False, True, True)
    assert (second.enabled, second.probability) == (False, 100)
    assert notices == ["some settings of entries (sticky) are kept for other programs, but not used here"]


def test_a_book_that_nobody_changed_goes_out_as_it_came(tmp_path: Path) -> None:
    before = copy.deepcopy(CARD_BOOK)
    save_lorebook(tmp_path / "eldoria.yaml", lorebook_of(CARD_BOOK, "")[0])
    books, errors = load_lorebooks(tmp_path)
    assert errors == []
    assert json.dumps(card_book_of(books["eldoria"])) == json.dumps(before)


def test_a_changed_entry_goes_out_changed_and_the_others_as_they_came() -> None:
    book, _ = lorebook_of(CARD_BOOK, "")
    first, second = book.entries
    changed = book.model_copy(update={"entries": (first.model_copy(update={"order": 8}), second)})
    out = card_book_of(changed)
    assert out["entries"][1] == CARD_BOOK["entries"][1]
    assert out["entries"][0]["insertion_order"] == 8
    assert out["entries"][0]["priority"] == 10
    assert out["entries"][0]["extensions"]["position"] == 4
    assert lorebook_of(out, "")[0].entries[0].model_dump(exclude={"extensions"}) == changed.entries[0].model_dump(
        exclude={"extensions"}
    )


def test_world_info_and_own_entries_come_back_from_a_card_as_they_are() -> None:
    own = LoreEntry(content="Mine.", keys=("me",), probability=30, scan_depth=1, case_sensitive=True, name="Own")
    book, _ = lorebook_of(WORLD_INFO, "Woods")
    out = card_book_of(book.model_copy(update={"entries": (*book.entries, own)}))
    back, _ = lorebook_of(out, "")
    assert [one.model_dump(exclude={"extensions"}) for one in back.entries] == [
        one.model_dump(exclude={"extensions"}) for one in (*book.entries, own)
    ]
    assert out["entries"][0]["extensions"]["sticky"] == 2


ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
FIELDS = st.sampled_from(sorted({*CARD_BOOK["entries"][0], *WORLD_INFO["entries"]["0"]}))


@settings(max_examples=150)
@given(st.lists(st.dictionaries(FIELDS, ODD, max_size=6), max_size=3), ODD, ODD, st.booleans())
def test_whatever_stands_in_a_book_is_taken_or_left_out(entries: Any, name: Any, depth: Any, is_world: bool) -> None:
    listed: Any = {str(number): one for number, one in enumerate(entries)} if is_world else entries
    book, _ = lorebook_of({"entries": listed, "name": name, "scan_depth": depth, "extensions": name}, "Fallback")
    assert len(book.entries) == len(entries)
    back, _ = lorebook_of(card_book_of(book), "Fallback")
    assert [one.keys for one in back.entries] == [one.keys for one in book.entries]
    assert [one.content for one in back.entries] == [one.content for one in book.entries]


def test_a_card_of_sillytavern_says_of_plain_keys_too_that_they_are_regular_expressions() -> None:
    raw = {"keys": ["king", "/Queens?/i", "C++"], "content": "x", "use_regex": True}
    of_sillytavern = {**raw, "extensions": {"selectiveLogic": 0, "display_index": 0}}
    keys = [lorebook_of({"entries": [one]}, "f")[0].entries[0].keys for one in (raw, of_sillytavern)]
    assert keys == [("king", "/Queens?/i", "/C++/i"), ("king", "/Queens?/i", "C++")]


def test_keys_between_commas_may_be_regular_expressions_with_commas() -> None:
    world = {"entries": {"0": {"key": "cow, /a{1,3}b/i,dog", "keysecondary": "", "content": "x"}}}
    assert lorebook_of(world, "f")[0].entries[0].keys == ("cow", "/a{1,3}b/i", "dog")


def test_world_info_in_a_list_and_a_key_alone_are_read_and_other_programs_books_are_refused() -> None:
    raw = {"entries": [{"key": "moss", "content": "Moss glows.", "order": 5, "disable": True}]}
    found, notices = lorebook_of(raw, "x")
    entry = found.entries[0]
    assert (entry.keys, entry.order, entry.enabled, notices) == (("moss",), 5, False, [])
    for other in ({"keys": ["moss"], "text": "Moss glows."}, {"keywords": ["moss"], "entry": "Moss glows."}):
        with pytest.raises(ConfigError, match="its entries have no content"):
            lorebook_of({"entries": [other]}, "x")


def test_further_keys_that_do_not_decide_are_still_there_after_an_edit() -> None:
    raw = {"keys": ["cow"], "secondary_keys": ["milk"], "selective": False, "content": "x"}
    (entry,) = lorebook_of({"entries": [raw]}, "f")[0].entries
    assert entry.secondary_keys == ()
    edited = Lorebook(name="f", entries=(entry.model_copy(update={"content": "y"}),))
    (out,) = card_book_of(edited)["entries"]
    assert (out["content"], out["secondary_keys"], out["selective"]) == ("y", ["milk"], False)


@pytest.mark.parametrize(
    ("value", "expected"), [(False, (False, 1)), (True, (True, 1)), (3, (True, 3)), (0, (False, 1)), ("x", (True, 1))]
)
def test_an_entry_that_waits_for_others_keeps_its_level(value: Any, expected: tuple[bool, int]) -> None:
    world = {"entries": {"0": {"key": ["cow"], "content": "x", "delayUntilRecursion": value}}}
    (entry,) = lorebook_of(world, "f")[0].entries
    assert (entry.delay_until_recursion, entry.recursion_level) == expected
    edited = Lorebook(name="f", entries=(entry.model_copy(update={"content": "y"}),))
    back = lorebook_of(card_book_of(edited), "f")[0].entries[0]
    assert (back.delay_until_recursion, back.recursion_level) == expected


def test_what_else_sillytavern_keeps_of_an_entry_goes_into_a_card() -> None:
    world = {
        "key": ["cow"],
        "content": "x",
        "triggers": ["normal"],
        "characterFilter": {"isExclude": False, "names": ["Nora"], "tags": []},
        "matchScenario": True,
        "outletName": "top",
    }
    book, notices = lorebook_of({"entries": {"0": world}}, "f")
    extensions = card_book_of(book)["entries"][0]["extensions"]
    assert [extensions[key] for key in ("triggers", "match_scenario", "outlet_name")] == [["normal"], True, "top"]
    assert extensions["character_filter"]["names"] == ["Nora"]
    what = "some settings of entries (character filter, trigger, matching source)"
    assert notices == [f"{what} are kept for other programs, but not used here"]


def test_world_info_that_menny_wrote_comes_in_again_whoever_named_it() -> None:
    made = Lorebook(
        name="Eldoria", description="A forest.", entries=(LoreEntry(content="Moss glows.", keys=("moss",)),)
    )
    back, notices = import_lorebook("eldoria.json", json.dumps(world_info_of(made)).encode())
    assert (back.name, notices) == ("Eldoria", [])
    assert [(one.keys, one.content) for one in back.entries] == [(("moss",), "Moss glows.")]


def test_the_numbers_of_world_info_by_which_sillytavern_finds_its_entries_stay_and_new_ones_are_free() -> None:
    came = {"entries": {str(uid): {"uid": uid, "key": [f"k{uid}"], "content": f"c{uid}"} for uid in (2, 0, 7)}}
    found = import_lorebook("world.json", json.dumps(came).encode())[0]
    assert world_info_of(found) == came
    edited = found.entries[1].model_copy(update={"content": "new"})
    entries = (LoreEntry(content="mine"), found.entries[0], edited, found.entries[0])
    out = world_info_of(found.model_copy(update={"entries": entries}))["entries"]
    assert [(key, one["uid"], one["content"]) for key, one in out.items()] == [
        ("1", 1, "mine"), ("2", 2, "c2"), ("0", 0, "new"), ("3", 3, "c2")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("decorator", "values", "notice"),
    [
        ("@@activate", {"constant": True}, ""),
        ("@@dont_activate", {"enabled": False}, ""),
        ("@@depth 4\n@@scan_depth 12", {"scan_depth": 12}, ""),
        ("@@scan_depth many", {"scan_depth": None}, ""),
        ("@@exclude_keys elf, orc", {}, "@@exclude_keys"),
    ],
)
def test_the_decorators_of_version_3_have_their_say(decorator: str, values: dict[str, Any], notice: str) -> None:
    raw = {"entries": [{"keys": ["moss"], "content": f"{decorator}\nMoss glows.", "extensions": {}}], "extensions": {}}
    found, notices = lorebook_of(raw, "x")
    assert {name: getattr(found.entries[0], name) for name in values} == values
    kept = f"some settings of entries ({notice}) are kept for other programs, but not used here"
    assert notices == ([kept] if notice else [])
    assert card_book_of(found) == raw


def test_keys_that_cannot_be_used_are_named() -> None:
    raw = {"entries": [{"keys": ["", 7, "ok", None], "content": "x"}, {"keys": 5, "content": "y"}, "no entry"]}
    book, notices = lorebook_of(raw, "f")
    assert [one.keys for one in book.entries] == [("ok",), ()]
    assert notices == [
        "a key was left out, as it isn't text",
        "an empty key was left out",
        "keys of an entry were left out, as they aren't a list",
        "an entry was left out, as it isn't an object",
    ]


def test_twenty_megabytes_come_in_and_are_there_after_a_restart(tmp_path: Path) -> None:
    entries = [{"keys": [f"k{n}"], "content": f"{n} " + "x" * 2000, "insertion_order": n} for n in range(10_000)]
    book, notices = import_lorebook(
        "large.json", json.dumps({"data": {"character_book": {"entries": entries}}}).encode()
    )
    assert (len(book.entries), notices) == (10_000, [])
    save_lorebook(tmp_path / "large.yaml", book)
    assert load_lorebook(tmp_path / "large.yaml") == book


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"[1]", "the file isn't a JSON object"),
        (b"{", "the file isn't valid JSON"),
        (b'{"a": 1}', "it isn't a lorebook: there are no entries"),
        (b"name: x\ntagline: y\n", "it isn't a lorebook: there are no entries"),
        (b"entries: [\n", "this isn't valid YAML"),
        (b'{"entries": 7}', "it isn't a lorebook: there are no entries"),
    ],
)
def test_what_is_no_lorebook_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        import_lorebook("x.json", data)


def test_a_broken_file_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    save_lorebook(tmp_path / "good.yaml", Lorebook(name="Good", entries=(LoreEntry(content="x", keys=("y",)),)))
    (tmp_path / "bad.yaml").write_text("name: Bad\nentries:\n- content: x\n  key: y\n", encoding="utf-8")
    (tmp_path / "cut.yaml").write_text('{"name": "Cut", "entries": [{"cont', encoding="utf-8")
    (tmp_path / "odd.yaml").write_text('{"name": "Odd", "entries": [{"content": "x", "order": "y"}]}', encoding="utf-8")
    books, errors = load_lorebooks(tmp_path)
    assert list(books) == ["good"]
    told = " ".join(map(str, errors))
    for words in (
        "bad.yaml, line 4: unknown key 'entries' item 1 'key'",
        "cut.yaml: the file isn't valid JSON",
        "odd.yaml",
    ):
        assert words in told


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert load_lorebooks(tmp_path / "none") == ({}, [])
