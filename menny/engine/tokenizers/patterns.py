"""Regular expressions from vocabulary files: which of them split any text in bounded time.

The tokenizers library runs them by backtracking (Oniguruma), so a file could make it try a number of ways that grows
exponentially with the text. Those of real vocabularies are alternatives of character classes, each repeated at most
once over before something that must follow. What goes beyond that is refused.
"""

import re
from dataclasses import dataclass

MAX_PATTERN = 2048  # characters
MAX_WAYS = 256  # in which the bounded parts of one alternative can match
MAX_DEPTH = 8  # of groups and classes

_TOKEN = re.compile(
    r"\\[pP]\{\^?\w+\}|\\[sSdDwWhrnt]|\\[^\w\s]|\(\?i:|\(\?:|\(\?[=!]|\(|[\[)|.^$]|[^\\\[()|?*+{.^$]", re.DOTALL
)
_QUANTIFIER = re.compile(r"([?*+])[?+]?(?![?*+{])|\{(\d{1,3})(,?)(\d{0,3})\}(?![?*+{])")
_CLASS_PART = re.compile(r"\\[pP]\{\^?\w+\}|\\[sSdDwWhrnt]|\\[^\w\s]|[^\\\[\]]", re.DOTALL)


@dataclass(frozen=True)
class _Part:
    """What a part of a pattern may match: in how many ways, of any length or not, and whether it must match."""

    ways: int = 1
    is_unbounded: bool = False
    is_risky: bool = False  # repeats something of any length before what must follow
    is_required: bool = True


class _Unsafe(Exception):  # noqa: N818 - an answer, not an error
    """The pattern could run away, or isn't one that is known."""


def is_bounded(pattern: str) -> bool:
    """Return True for a pattern whose search takes at most quadratic time in the length of a text."""
    if not 0 < len(pattern) <= MAX_PATTERN:
        return False
    try:
        _, end = _alternatives(pattern, 0, 0)
    except _Unsafe:
        return False
    return end == len(pattern)


def _alternatives(pattern: str, place: int, depth: int) -> tuple[_Part, int]:
    """Read alternatives up to the end or a closing bracket; return them as one part, and the place behind them."""
    if depth > MAX_DEPTH:
        raise _Unsafe
    found = []
    while True:
        sequence, place = _sequence(pattern, place, depth)
        found.append(_joined(sequence))
        if place == len(pattern) or pattern[place] != "|":
            break
        place += 1
    whole = _Part(
        sum(part.ways for part in found),
        any(part.is_unbounded for part in found),
        any(part.is_risky for part in found),
        all(part.is_required for part in found),
    )
    return whole, place


def _sequence(pattern: str, place: int, depth: int) -> tuple[list[_Part], int]:
    parts = []
    while place < len(pattern) and pattern[place] not in "|)":
        part, place = _atom(pattern, place, depth)
        if quantifier := _QUANTIFIER.match(pattern, place):
            part, place = _repeated(part, quantifier), quantifier.end()
        parts.append(part)
    return parts, place


def _atom(pattern: str, place: int, depth: int) -> tuple[_Part, int]:
    """Read one character, class, group, anchor or look-ahead."""
    token = _TOKEN.match(pattern, place)
    if not token:
        raise _Unsafe
    if token[0] == "[":
        return _Part(), _class_end(pattern, token.end(), depth)
    if not token[0].startswith("("):
        return _Part(), token.end()
    group, end = _alternatives(pattern, token.end(), depth + 1)
    if pattern[end : end + 1] != ")" or (token[0] in ("(?=", "(?!") and group.is_unbounded):
        raise _Unsafe
    return group, end + 1


def _class_end(pattern: str, place: int, depth: int) -> int:
    """Return the place behind a character class, which may hold others."""
    if depth > MAX_DEPTH:
        raise _Unsafe
    place += pattern[place : place + 1] == "^"
    while pattern[place : place + 1] != "]":
        if pattern[place : place + 1] == "[":
            place = _class_end(pattern, place + 1, depth + 1)
        elif part := _CLASS_PART.match(pattern, place):
            place = part.end()
        else:
            raise _Unsafe
    return place + 1


def _repeated(part: _Part, quantifier: re.Match[str]) -> _Part:
    sign, least, comma, most = quantifier.groups()
    if sign == "?":
        return _Part(part.ways + 1, part.is_unbounded, part.is_risky, is_required=False)
    if part.ways > 1 or part.is_unbounded:  # repeats of repeats, or of alternatives
        raise _Unsafe
    if sign or (comma and not most):
        return _Part(1, is_unbounded=True, is_required=sign == "+" or (not sign and int(least) > 0))
    count = int(most or least) - int(least) + 1
    if count < 1:
        raise _Unsafe
    return _Part(count, is_required=int(least) > 0)


def _joined(parts: list[_Part]) -> _Part:
    """Return parts in a row as one; those of any length before one that must match are risky, and one may be."""
    ways, risky = 1, 0
    for place, part in enumerate(parts):
        ways *= part.ways
        followed = any(later.is_required for later in parts[place + 1 :])
        risky += part.is_risky or (part.is_unbounded and followed)
    if ways > MAX_WAYS or risky > 1:
        raise _Unsafe
    return _Part(ways, any(part.is_unbounded for part in parts), risky > 0, any(part.is_required for part in parts))
