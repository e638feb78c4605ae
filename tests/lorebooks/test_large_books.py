"""Large lorebooks are scanned whole, and soon; what would take long is stopped, and named."""

import time
from itertools import count

import pytest

from menny.lorebooks import keys
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread's clock by which every look at it comes a third of what regular expressions may take after the last."""
    ticks = count()
    monkeypatch.setattr(keys.time, "thread_time", lambda: next(ticks) * keys.REGEX_SECONDS / 3)


@pytest.mark.usefixtures("clock")
def test_a_regular_expression_that_runs_away_is_stopped_and_named() -> None:
    runaway = r"/(a|a|aa)+$/"
    one = book(entry("slow", runaway), entry("quick", "cow"))
    result = scanned(one, "cow " + "a" * 5000 + "b")  # without a bound it takes hours
    assert contents(result.called) == ["quick"]
    assert result.slow_keys == (runaway,)


@pytest.mark.usefixtures("clock")
def test_where_the_time_of_regular_expressions_is_used_up_those_that_are_left_are_named() -> None:
    several = book(*(entry(f"slow {n}", f"/(a|a|aa)+{n}$/") for n in range(9)), entry("quick", "/cow/", order=1))
    result = scanned(several, "cow " + "a" * 5000 + "b")
    assert result.slow_keys == ("/(a|a|aa)+0$/", "/(a|a|aa)+1$/")
    assert result.untried_keys == (*(f"/(a|a|aa)+{n}$/" for n in range(2, 9)), "/cow/")
    assert not result.called
