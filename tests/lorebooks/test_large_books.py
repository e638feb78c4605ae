"""Large lorebooks are scanned whole, and soon."""

import time

import pytest

from menny.lorebooks.keys import why_never
from tests.lorebooks.test_scan import book, contents, entry, scanned


@pytest.mark.parametrize(
    "key",
    [
        "/" + "(?:" * 40 + "a" + "){1,2}" * 40 + "/",
        "/" + "(" * 40 + "ab" + ")+" * 40 + "/",
        "/(?=" + "(?:" * 12 + "ab" + "){2}" * 12 + ")/",
        "/" + "(?:" * 20 + "[)]" + "){2,}?" * 20 + "/",
    ],
)
def test_repetitions_within_repetitions_would_fill_the_memory_and_are_named(key: str) -> None:
    assert why_never(key) == "it repeats more than 2,000 times"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("/" + r"\d{1,2}[.]" * 20 + "/", "12." * 20),
        ("/" + "(?:" * 40 + "a" + ")?" * 40 + "b/", "ab"),
        ("/" + "(a|" * 40 + "b" + ")*" * 40 + "c/", "aac"),
        (r"/\(+[(]+(?:a{0,900}b)+/", "(((ab"),
    ],
)
def test_other_repetitions_are_searched_for(key: str, text: str) -> None:
    assert why_never(key) == ""
    assert contents(scanned(book(entry("found", key)), text).called) == ["found"]


def test_ten_thousand_entries_are_scanned_whole() -> None:
    many = [entry(f"Lore {number} of it. " * 10, f"word{number}", f"/place{number}x/") for number in range(10_000)]
    result = scanned(book(*many), "Is word77 near place4711x, by word9999?", budget=10_000)
    assert sorted(contents(result.called)) == sorted(f"{f'Lore {n} of it. ' * 10}".strip() for n in (77, 4711, 9999))


def test_a_long_chain_of_entries_and_many_callers_end_soon() -> None:
    chain = [entry(f"word{number}q", f"word{number - 1}q") for number in range(1, 3000)]
    wide = [entry(f"say{number}q", "all") for number in range(1500)]
    called = [entry(f"told {number}", f"say{number}q") for number in range(1500)]
    began = time.process_time()
    assert len(scanned(book(*chain), "word0q", budget=10**6).called) == 51
    found = scanned(book(*wide, *called), "all", budget=10**6).called
    assert time.process_time() - began < 10  # 40 seconds, were each caller searched for each of them
    assert [one.called_by for one in found if one.text == "told 777"] == ["all"]
