"""Which entries a chat calls up: a table from SillyTavern's documentation, and a plain restatement of its rules."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.lorebooks import Activation, Lorebook, LoreEntry, ScanResult, scan
from menny.lorebooks.lorebook import SCAN_DEPTH
from menny.lorebooks.scan import silent_keys


def entry(content: str, *keys: str, **values: Any) -> LoreEntry:
    return LoreEntry(content=content, keys=keys, **values)


def book(*entries: LoreEntry, **values: Any) -> Lorebook:
    return Lorebook(name="World", entries=entries, **values)


def by_words(text: str) -> int:
    return len(text.split())


def scanned(one: Lorebook, *messages: str, budget: int = 1000, draws: float = 0.0) -> ScanResult:
    return scan({"world": one}, messages, budget, by_words, lambda _: draws)


def contents(found: tuple[Activation, ...]) -> list[str]:
    return [one.text for one in found]


def fires(one: LoreEntry, *messages: str, **values: Any) -> bool:
    result = scanned(book(one, **values), *messages)
    return bool(result.called or result.constant)


CASES: list[tuple[str, dict[str, Any], tuple[str, ...], bool]] = [
    # the name of the rule, the entry, the messages, whether it fires
    ("a key stands in the last message", {"keys": ["Bessie"]}, ("Who is Bessie?",), True),
    ("keys are not case-sensitive by default", {"keys": ["bessie"]}, ("BESSIE!",), True),
    ("case-sensitive keys match their case", {"keys": ["rose"], "case_sensitive": True}, ("a Rose",), False),
    ("whole words: king in long live the king", {"keys": ["king"]}, ("long live the king",), True),
    ("whole words: king isn't in liking", {"keys": ["king"]}, ("it's not to my liking",), False),
    ("without whole words, king is in liking", {"keys": ["king"], "match_whole_words": False}, ("my liking",), True),
    ("a word may have punctuation beside it", {"keys": ["king"]}, ("the king's men, (king)",), True),
    ("letters beyond ASCII are letters too", {"keys": ["ось"]}, ("лось",), False),
    ("a phrase matches within the text", {"keys": ["long live"]}, ("they long lived",), True),
    ("scripts without spaces: parts of words match", {"keys": ["龙"]}, ("那条火龙来了",), True),
    ("Korean words carry endings", {"keys": ["용"]}, ("용이 왔다",), True),
    ("other scripts stand within Chinese", {"keys": ["Eldoria"]}, ("我想去Eldoria森林",), True),
    ("and carry Korean endings", {"keys": ["эльф"]}, ("эльф는 왔다",), True),
    ("but are whole words there too", {"keys": ["Eldor"]}, ("我想去Eldoria森林",), False),
    ("an accent in either spelling of a regular expression", {"keys": ["/cafe\u0301$/"]}, ("the café",), True),
    ("a letter behind a backslash is itself", {"keys": ["/\\hot\\Z/"]}, ("a hotZ",), True),
    ("a count that begins with a comma is text", {"keys": ["/a{,3}b/"]}, ("aab",), False),
    ("a control character by its letter", {"keys": ["/one\\cJtwo/"]}, ("one\ntwo",), True),
    ("a key with marks", {"keys": ["C++"]}, ("I like C++.",), True),
    ("accents in either spelling", {"keys": ["café"]}, ("the cafe\u0301",), True),
    ("scan depth 1 reads the last message", {"keys": ["cow"], "scan_depth": 1}, ("cow", "dog"), False),
    ("scan depth 2 reads the last two", {"keys": ["cow"], "scan_depth": 2}, ("cow", "dog"), True),
    ("scan depth 0 reads no message", {"keys": ["cow"], "scan_depth": 0}, ("cow",), False),
    ("a disabled entry", {"keys": ["cow"], "enabled": False}, ("cow",), False),
    ("a constant entry needs no key", {"constant": True}, ("anything",), True),
    ("probability 0 never", {"keys": ["cow"], "probability": 0}, ("cow",), False),
    ("probability 0 never, constant too", {"constant": True, "probability": 0}, ("cow",), False),
    ("an entry without keys", {}, ("cow",), False),
    ("AND ANY: one is enough", {"keys": ["a1"], "secondary_keys": ["b1", "c1"]}, ("a1 c1",), True),
    ("AND ANY: none", {"keys": ["a1"], "secondary_keys": ["b1", "c1"]}, ("a1",), False),
    (
        "AND ALL: all",
        {"keys": ["a1"], "secondary_keys": ["b1", "c1"], "selective_logic": "and all"},
        ("a1 b1 c1",),
        True,
    ),
    (
        "AND ALL: one is missing",
        {"keys": ["a1"], "secondary_keys": ["b1", "c1"], "selective_logic": "and all"},
        ("a1 b1",),
        False,
    ),
    ("NOT ANY: none", {"keys": ["a1"], "secondary_keys": ["b1"], "selective_logic": "not any"}, ("a1",), True),
    ("NOT ANY: one", {"keys": ["a1"], "secondary_keys": ["b1"], "selective_logic": "not any"}, ("a1 b1",), False),
    (
        "NOT ALL: one of two",
        {"keys": ["a1"], "secondary_keys": ["b1", "c1"], "selective_logic": "not all"},
        ("a1 b1",),
        True,
    ),
    (
        "NOT ALL: both",
        {"keys": ["a1"], "secondary_keys": ["b1", "c1"], "selective_logic": "not all"},
        ("a1 b1 c1",),
        False,
    ),
    ("secondary keys alone", {"keys": ["a1"], "secondary_keys": ["b1"]}, ("b1",), False),
    ("a regular expression", {"keys": [r"/rain(y|ing)? weather/i"]}, ("Rainy weather again",), True),
    ("its case counts without i", {"keys": [r"/rainy/"]}, ("Rainy",), False),
    ("commas belong to it", {"keys": [r"/a{1,3}b/"]}, ("aab",), True),
    ("a broken one is a plain key", {"keys": ["/a(b/"]}, ("see /a(b/ there",), True),
    ("a path is a plain key", {"keys": ["/etc/passwd/"]}, ("cat /etc/passwd/",), True),
    ("an escaped slash", {"keys": [r"/and\/or/"]}, ("and/or",), True),
    ("one that matches everything never fires", {"keys": ["/.*/"]}, ("cow",), False),
    ("nor one that matches every letter", {"keys": ["/./"]}, ("cow",), False),
    ("nor one that matches all but blanks", {"keys": [r"/\S+/"]}, ("cow",), False),
    ("one that asks for an absence can fire", {"keys": ["/^(?!.*dragon)/s"]}, ("a cow",), True),
    ("and doesn't where the word is there", {"keys": ["/^(?!.*dragon)/s"]}, ("a dragon",), False),
    ("one for long messages can fire", {"keys": ["/.{30,}/"]}, ("a cow " * 9,), True),
    ("JavaScript's set of everything", {"keys": ["/a[^]z/"]}, ("a\nz",), True),
    ("JavaScript's code points", {"keys": [r"/\u{1F409}|\u9f99/u"]}, ("a 🐉",), True),
    ("JavaScript's names of groups", {"keys": [r"/(?<one>cow)-\k<one>/"]}, ("cow-cow",), True),
    ("JavaScript's end is the text's end", {"keys": ["/cow$/"]}, ("cow\n",), False),
    ("with m it is a line's end", {"keys": ["/cow$/m"]}, ("cow\ndog",), True),
    ("secondary keys may be regular expressions", {"keys": ["a1"], "secondary_keys": ["/b\\d/"]}, ("a1 b7",), True),
    ("a hyphenated key is one word", {"keys": ["jack-o"]}, ("jack-o-lantern",), True),
    ("a digit beside a word is a letter", {"keys": ["king"]}, ("king2",), False),
    ("Thai has no spaces", {"keys": ["มังกร"]}, ("ฉันเห็นมังกรไฟ",), True),
    ("Japanese kana have none", {"keys": ["さくら"]}, ("ここはさくらの村です",), True),
]


@pytest.mark.parametrize(("values", "messages", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_an_entry_is_called_up_as_the_documentation_says(
    values: dict[str, Any], messages: tuple[str, ...], expected: bool
) -> None:
    one = LoreEntry.model_validate(
        {"content": "Lore.", **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}}
    )
    assert fires(one, *messages) is expected


def test_an_entry_calls_up_another_by_its_content() -> None:
    rufus = entry("Rufus is a dog.", "Rufus")
    bessie = entry("Bessie is a cow and is friends with Rufus.", "Bessie", name="The cow")
    result = scanned(book(rufus, bessie), "Tell me of Bessie")
    assert {one.text: one.called_by for one in result.called} == {rufus.content: "The cow", bessie.content: ""}
    assert not scanned(book(rufus, bessie, recursive_scanning=False), "Bessie").called[1:]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"prevent_recursion": True}, {}, 1),
        ({}, {"exclude_recursion": True}, 1),
        ({}, {"delay_until_recursion": True}, 2),
    ],
    ids=["prevented", "excluded", "delayed"],
)
def test_an_entry_can_stay_out_of_the_recursion(first: dict[str, Any], second: dict[str, Any], expected: int) -> None:
    one = book(entry("It is a friend of Rufus.", "Bessie", **first), entry("Rufus is a dog.", "Rufus", **second))
    assert len(scanned(one, "Bessie").called) == expected
    if second.get("delay_until_recursion"):
        assert not scanned(one, "Rufus").called


def test_higher_levels_wait_until_lower_ones_call_up_nothing_more() -> None:
    waiting = {"delay_until_recursion": True}
    one = book(
        entry("first mist", "cow"),
        entry("second mist", "first", **waiting),
        entry("third mist", "second", **waiting, recursion_level=3),
        entry("alone", "mist", secondary_keys=("third",), selective_logic="not any", **waiting, recursion_level=4),
        entry("between", "mist", secondary_keys=("third",), selective_logic="not any", **waiting, recursion_level=2),
    )
    result = scanned(one, "cow")
    assert sorted(contents(result.called)) == ["between", "first mist", "second mist", "third mist"]
    assert not scanned(one, "dog").called


def test_decorators_of_a_card_are_not_told() -> None:
    one = entry("@@depth 4\n@@role system\nThe moss glows.\n@@ stays", "moss")
    assert contents(scanned(book(one), "moss").called) == ["The moss glows.\n@@ stays"]


def test_a_constant_entry_that_waits_for_others_joins_the_turn_in_which_one_is_called_up() -> None:
    one = book(entry("moss", "glade"), entry("always, after others", constant=True, delay_until_recursion=True))
    found = scanned(one, "the glade")
    assert (contents(found.called), contents(found.constant)) == (["moss", "always, after others"], [])
    assert not scanned(one, "a field").called


def test_higher_orders_come_last_in_the_text_and_first_into_the_budget() -> None:
    one = book(
        entry("low low low", "cow", order=1), entry("high high high", "cow", order=9), entry("always on", constant=True)
    )
    assert contents(scanned(one, "cow").called) == ["low low low", "high high high"]
    tight = scanned(one, "cow", budget=5)
    assert (contents(tight.constant), contents(tight.called)) == (["always on"], ["high high high"])
    assert contents(tight.over_budget) == ["low low low"]


def test_what_messages_call_up_comes_before_what_entries_call_up_and_what_did_not_fit_calls_up_nothing() -> None:
    one = book(
        entry("names Rufus", "Bessie", order=1),
        entry("a dog", "Rufus", order=999),
        entry("far too long to fit here and names Spot", "Bessie", order=0),
        entry("Spot is a cat", "Spot"),
    )
    result = scanned(one, "Bessie", budget=4)
    assert contents(result.called) == ["names Rufus"]
    assert "Spot is a cat" not in contents((*result.called, *result.over_budget))


def test_a_book_has_a_budget_of_its_own_within_the_whole() -> None:
    small = book(entry("one two", "cow"), entry("three four", "cow"), token_budget=3)
    large = book(entry("five six", "cow"))
    result = scan({"small": small, "large": large}, ["cow"], 100, by_words, lambda _: 0.0)
    assert [one.book for one in result.called] == ["small", "large"]
    assert contents(result.over_budget) == ["three four"]


def test_a_draw_decides_once_in_a_scan() -> None:
    draws = iter([0.6, 0.4])
    one = book(entry("rare cow", "cow", probability=50), entry("rare dog", "cow", probability=50), entry("cow", "cow"))
    result = scan({"world": one}, ["cow"], 100, by_words, lambda _: next(draws))
    assert contents(result.unlucky) == ["rare cow"]
    assert contents(result.called) == ["rare dog", "cow"]


def test_names_are_filled_into_keys_and_contents() -> None:
    one = book(entry("{{char}} owns it.", "{{char}}'s hat"))
    result = scan(
        {"w": one}, ["Where is Nora's hat?"], 100, by_words, lambda _: 0.0, lambda t: t.replace("{{char}}", "Nora")
    )
    assert contents(result.called) == ["Nora owns it."]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("/.*/", "it matches every text"),
        ("/((a{1000}){1000}){1000}/", "it repeats more than 2,000 times"),  # which takes gigabytes to compile
        ("/a{99999999999999999999}/", "it repeats more than 2,000 times"),
    ],
)
def test_keys_that_never_match_are_named(key: str, why: str) -> None:
    one = book(entry("lore", key, "cow", name="Everything"))
    assert silent_keys(one) == [("Everything", key, why)]
    assert not scanned(one, "aaaa").called


# A plain restatement, without the care for speed: words are single letters, so that keys match by chance.

LETTERS = st.sampled_from("abcdef")
ENTRIES = st.builds(
    LoreEntry,
    content=st.lists(LETTERS, min_size=1, max_size=4).map(" ".join),
    keys=st.lists(LETTERS, max_size=2, unique=True).map(tuple),
    secondary_keys=st.lists(LETTERS, max_size=2, unique=True).map(tuple),
    selective_logic=st.sampled_from(["and any", "and all", "not any", "not all"]),
    constant=st.sampled_from([False, False, False, True]),
    enabled=st.sampled_from([True, True, True, False]),
    probability=st.sampled_from([100.0, 100.0, 50.0, 0.0]),
    order=st.integers(0, 3),
    scan_depth=st.sampled_from([None, 0, 1, 3]),
    exclude_recursion=st.booleans(),
    prevent_recursion=st.booleans(),
    delay_until_recursion=st.sampled_from([False, False, True]),
)
LOGIC = {
    "and any": lambda there: any(there),
    "and all": lambda there: all(there),
    "not any": lambda there: not any(there),
    "not all": lambda there: not all(there),
}


def restated(one: Lorebook, messages: list[str], budget: int) -> tuple[list[int], list[int]]:
    """The numbers of the entries that are called up, and of those over the budget; a draw is always won."""

    def matches(lore: LoreEntry, recursed: list[str]) -> bool:
        depth = SCAN_DEPTH if lore.scan_depth is None else lore.scan_depth
        words = set(
            " ".join((messages[len(messages) - depth :] if depth < len(messages) else messages) + recursed).split()
        )
        if depth == 0:
            words = set(" ".join(recursed).split())
        if lore.constant:
            return True
        hit = any(key in words for key in lore.keys)
        others = [key in words for key in lore.secondary_keys]
        return hit and (not others or LOGIC[lore.selective_logic](others))

    called: list[int] = []
    refused: list[int] = []
    recursed: list[str] = []
    full = False
    first = True
    while True:
        found = [
            number
            for number, lore in enumerate(one.entries)
            if number not in called and number not in refused
            if lore.enabled and lore.probability > 0
            if not (lore.delay_until_recursion if first else lore.exclude_recursion)
            if matches(lore, recursed)
        ]
        found.sort(key=lambda number: (not one.entries[number].constant, -one.entries[number].order, number))
        new: list[int] = []
        for number in found:
            size = by_words(one.entries[number].content)
            full = full or size > budget
            if full:
                refused.append(number)
            else:
                budget -= size
                called.append(number)
                new.append(number)
        calling = [one.entries[number].content for number in new if not one.entries[number].prevent_recursion]
        if not calling or not one.recursive_scanning:
            return called, refused
        recursed += calling
        first = False


@settings(max_examples=150)
@given(
    st.lists(ENTRIES, max_size=8),
    st.lists(st.lists(LETTERS, max_size=3).map(" ".join), max_size=4),
    st.integers(0, 12),
    st.booleans(),
)
def test_a_scan_does_what_the_rules_say(
    entries: list[LoreEntry], messages: list[str], budget: int, recursive: bool
) -> None:
    named = [lore.model_copy(update={"name": str(number)}) for number, lore in enumerate(entries)]
    one = book(*named, recursive_scanning=recursive)
    result = scanned(one, *messages, budget=budget)
    called, refused = restated(one, messages, budget)
    found = (*result.constant, *result.called)
    assert sorted(int(item.entry.name) for item in found) == sorted(called)
    assert [int(item.entry.name) for item in result.over_budget] == refused
    for part in (result.constant, result.called):
        assert [item.entry.order for item in part] == sorted(item.entry.order for item in part)
