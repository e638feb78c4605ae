"""A scan of lorebooks: which entries the last messages call up, within a budget of tokens.

The rules are SillyTavern's ("World Info" in its documentation). An entry is called up where one of its keys stands in
the last messages, or, if its book scans recursively, in the content of another entry that was called up. Constant
entries come into the budget first, then those with a higher order; what messages call up comes before what entries call
up. Where an entry doesn't fit, no more are called up. A draw decides by the probability, once in a scan. Entries that
wait for others do so by levels: once no more is called up, those of the next level are looked at.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from menny.lorebooks.decorators import without_decorators
from menny.lorebooks.keys import Fill, RegexTime, ScanText, why_never
from menny.lorebooks.lorebook import Lorebook, LoreEntry

DEFAULT_BUDGET = 25  # percent of the context
MOST_ROUNDS = 50  # in which entries call up others, so that a long chain in a large book ends soon

Count = Callable[[str], int]
Draw = Callable[[LoreEntry], float]


@dataclass(frozen=True, slots=True)
class Activation:
    """An entry that was called up: the id of its book, its content with names filled in, and what called it up.

    `key` is empty for a constant entry. `called_by` is the title of the entry whose content has the key; empty where a
    message has it.
    """

    book: str
    entry: LoreEntry
    text: str
    key: str = ""
    called_by: str = ""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan called up, in the order of the text: constant entries and the others, lowest order first.

    `over_budget` didn't fit, `unlucky` lost the draw of their probability; `slow_keys` are regular expressions that
    took too long and were stopped, and `untried_keys` those that came after them.
    """

    constant: tuple[Activation, ...] = ()
    called: tuple[Activation, ...] = ()
    over_budget: tuple[Activation, ...] = ()
    unlucky: tuple[Activation, ...] = ()
    slow_keys: tuple[str, ...] = ()
    untried_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    book_id: str
    book: Lorebook
    entry: LoreEntry

    @property
    def rank(self) -> tuple[bool, int]:
        """The place in the line for the budget: constant entries first, then by falling order."""
        return (not self.entry.constant, -self.entry.order)

    @property
    def depth(self) -> int:
        return self.book.scan_depth if self.entry.scan_depth is None else self.entry.scan_depth

    def is_eligible(self, level: int) -> bool:
        """True if it can be called up at a level: at 0 by messages, from 1 on by other entries."""
        entry = self.entry
        if level == 0:
            return not entry.delay_until_recursion
        is_waiting = entry.delay_until_recursion and entry.recursion_level > level
        return self.book.recursive_scanning and not entry.exclude_recursion and not is_waiting


def title_of(entry: LoreEntry) -> str:
    """An entry's name in lists: its own, else its first key, else the beginning of its content."""
    return entry.name or next(iter(entry.keys), "") or entry.content[:40]


def silent_keys(book: Lorebook) -> list[tuple[str, str, str]]:
    """The keys that never match: the entry's title, the key, and why."""
    return [
        (title_of(entry), key, why)
        for entry in book.entries
        for key in (*entry.keys, *entry.secondary_keys)
        if (why := why_never(key))
    ]


def scan(
    books: Mapping[str, Lorebook],
    messages: Sequence[str],
    budget: int,
    count: Count,
    draw: Draw,
    fill: Fill = lambda text: text,
    speakers: Sequence[str] = (),
) -> ScanResult:
    """Find the entries that the last of `messages` (oldest first) call up, by the books' ids.

    Their contents may take `budget` tokens together, as `count` counts them. `draw` gives a number in [0, 1) for an
    entry that has a probability; `fill` puts names into keys and contents. `speakers` are the names of who wrote the
    messages, for regular expressions that ask for them.
    """
    return _Scan(books, ScanText(messages, speakers), budget, count, draw, fill).run()


class _Scan:
    def __init__(
        self,
        books: Mapping[str, Lorebook],
        text: ScanText,
        budget: int,
        count: Count,
        draw: Draw,
        fill: Fill,
    ) -> None:
        self._text, self._caller_time = text, RegexTime()
        self._count, self._draw = count, draw
        self._fill = cache(fill)  # what is drawn in a content is drawn once
        self._left = {"": budget}  # for all, and for each book with a budget of its own
        self._left |= {name: book.token_budget for name, book in books.items() if book.token_budget is not None}
        self._exhausted: set[str] = set()
        self._called: list[Activation] = []
        self._over_budget: list[Activation] = []
        self._unlucky: list[Activation] = []
        candidates = [
            _Candidate(name, book, entry)
            for name, book in books.items()
            for entry in book.entries
            if entry.enabled and entry.content and entry.probability > 0
        ]
        self._waiting = sorted(candidates, key=lambda candidate: candidate.rank)
        delayed = [one.entry for one in candidates if one.entry.delay_until_recursion]
        self._levels = sorted({entry.recursion_level for entry in delayed} or {1})

    def run(self) -> ScanResult:
        new = self._call_up(self._matching())
        level, *higher = self._levels
        for _ in range(MOST_ROUNDS):
            if not (new or higher):
                break
            if new:
                self._text.add([one.text for one in new])
            else:
                level, *higher = higher
            new = self._call_up(self._matching(level), new)
        in_text_order = sorted(self._called, key=lambda one: one.entry.order)
        return ScanResult(
            tuple(one for one in in_text_order if one.entry.is_always_there),
            tuple(one for one in in_text_order if not one.entry.is_always_there),
            tuple(self._over_budget),
            tuple(self._unlucky),
            tuple(self._text.time.slow),
            tuple(self._text.time.untried),
        )

    def _matching(self, level: int = 0) -> list[tuple[_Candidate, str]]:
        """Take the candidates that match now out of the line, each with its key; at level 0 messages call them up."""
        found, waiting = [], []
        for candidate in self._waiting:
            key = self._key_of(candidate) if candidate.is_eligible(level) else None
            if key is None:
                waiting.append(candidate)
            else:
                found.append((candidate, key))
        self._waiting = waiting
        return found

    def _key_of(self, candidate: _Candidate) -> str | None:
        """The key that calls an entry up; "" for a constant one, None without a key."""
        entry = candidate.entry
        if entry.constant:
            return ""
        key = next((key for key in entry.keys if self._has(candidate, key)), None)
        if key is None or not entry.secondary_keys:
            return key
        there = (self._has(candidate, other) for other in entry.secondary_keys)
        match entry.selective_logic:
            case "and any":
                decided = any(there)
            case "and all":
                decided = all(there)
            case "not any":
                decided = not any(there)
            case "not all":
                decided = not all(there)
        return key if decided else None

    def _has(self, candidate: _Candidate, key: str, text: ScanText | None = None) -> bool:
        """True if a key stands in the text of the scan, or in another one of a single message."""
        entry = candidate.entry
        filled = self._fill(key) if "{{" in key else key
        searched, depth = (text, 1) if text else (self._text, candidate.depth)
        return searched.has(filled, depth, entry.case_sensitive, entry.match_whole_words)

    def _call_up(self, found: Iterable[tuple[_Candidate, str]], callers: Sequence[Activation] = ()) -> list[Activation]:
        """Call up what fits; return the entries that may call up others."""
        calling: list[Activation] = []
        search = _CallerSearch(callers, self._has, self._caller_time)
        for candidate, key in found:
            entry = candidate.entry
            by = search.first_with(candidate, key) if key else None
            text, caller = self._fill(without_decorators(entry.content)), title_of(by.entry) if by else ""
            one = Activation(candidate.book_id, entry, text, key, caller)
            if not text.strip():
                continue
            if entry.probability < 100 and self._draw(entry) * 100 >= entry.probability:
                self._unlucky.append(one)
            elif self._fits(candidate, text):
                self._called.append(one)
                if candidate.book.recursive_scanning and not entry.prevent_recursion:
                    calling.append(one)
            else:
                self._over_budget.append(one)
        return calling

    def _fits(self, candidate: _Candidate, text: str) -> bool:
        """Take an entry's tokens from the budgets; once one doesn't fit, no later one does."""
        budgets = [name for name in ("", candidate.book_id) if name in self._left]
        if any(name in self._exhausted for name in budgets):
            return False
        tokens = self._count(text)
        short = [name for name in budgets if tokens > self._left[name]]
        self._exhausted.update(short)
        if not short:
            for name in budgets:
                self._left[name] -= tokens
        return not short


class _CallerSearch:
    """A search for the first of many entries whose content has a key: in halves, as a large book has thousands."""

    def __init__(
        self, callers: Sequence[Activation], has: Callable[[_Candidate, str, ScanText], bool], time: RegexTime
    ) -> None:
        self._callers, self._has, self._time = callers, has, time
        self._texts: dict[tuple[int, int], ScanText] = {}

    def first_with(self, candidate: _Candidate, key: str) -> Activation | None:
        """The first entry whose content has the key; None where none has it."""
        low, high = 0, len(self._callers)
        if not self._is_within(candidate, key, low, high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_within(candidate, key, low, middle) else (middle, high)
        return self._callers[low]

    def _is_within(self, candidate: _Candidate, key: str, low: int, high: int) -> bool:
        if low == high:
            return False
        text = self._texts.get((low, high))
        if text is None:
            joined = "\n".join(caller.text for caller in self._callers[low:high])
            text = self._texts[low, high] = ScanText([joined], time=self._time)
        return self._has(candidate, key, text)
