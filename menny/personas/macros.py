"""Macros in the texts of personas and their cards: names, draws, dice and the clock, as SillyTavern writes them.

What is drawn, or read from the clock, is settled by the chat's `Draws`: the same macro in the same text gives the same
value for as long as the chat lives, so that its prompts keep their beginning.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

MAX_DEPTH = 16  # of macros within macros; deeper ones stay as they are
MAX_DICE, MAX_SIDES = 100, 1_000_000

THE_USER, YOU = "the user", "you"  # where the user has given no name: in texts about them, and to them

_MARK = re.compile(r"\{\{(?!\{)|\}\}")
_DRAW = re.compile(r"(random|pick)\s?::?", re.IGNORECASE)
_ROLL = re.compile(r"roll(?:::?|\s)\s*(\d{0,4})(?:d(\d{1,7}))?\s*([+-]\s*\d{1,6})?\s*", re.IGNORECASE)
_COMMA = re.compile(r"(?<!\\),")
_BEGINS = re.compile(r"(?:^|[.!?…:][\"”’»)*_]*\s+|\n)[\s\"“‘«(*_#>-]*$")  # where a sentence begins


@dataclass(frozen=True, slots=True)
class Draws:
    """What settles the macros of a chat: a seed for what they draw, and the time that they read."""

    seed: str = ""
    at: datetime | None = None  # None: now


@dataclass(frozen=True, slots=True)
class _Trim:
    """A `{{trim}}`, which takes the line breaks around it."""


Piece = str | _Trim | list["Piece"]  # a list: what a macro gave, whose commas and colons part nothing


@dataclass(slots=True)
class _Open:
    """A macro that isn't closed yet: where it began, and what it holds so far."""

    start: int
    pieces: list[Piece] = field(default_factory=list)


def expand(text: str, names: Mapping[str, str], draws: Draws | None = None, place: str = "") -> str:
    """Replace a text's macros: those in `names` (user, char) by these, in upper and lower case alike.

    Unknown macros stay as they are, and no name or value is read again. `place` says which text it is: the same draw in
    two places of a chat can differ. The time it takes, and the length, grow with the text.
    """
    if "{{" not in text:
        return text
    macros = _Macros(names, draws or Draws(), place)
    levels = [_Open(0)]
    too_deep = end = 0
    for mark in _MARK.finditer(text):
        levels[-1].pieces.append(text[end : mark.start()])
        end = mark.end()
        if mark[0] == "{{" and len(levels) <= MAX_DEPTH:
            levels.append(_Open(mark.start()))
        elif mark[0] == "}}" and len(levels) > 1 and not too_deep:
            done = levels.pop()
            value = macros.value(done.pieces, text[done.start : end], before=levels[-1].pieces)
            levels[-1].pieces.append(["{{", *done.pieces, "}}"] if value is None else value)
        else:
            too_deep = too_deep + 1 if mark[0] == "{{" else max(0, too_deep - 1)
            levels[-1].pieces.append(mark[0])
    levels[-1].pieces.append(text[end:])
    pieces = levels[0].pieces
    for unclosed in levels[1:]:
        pieces += ["{{", *unclosed.pieces]
    return _joined(pieces)


class _Macros:
    """The values of one text's macros."""

    def __init__(self, names: Mapping[str, str], draws: Draws, place: str) -> None:
        self._names = {name.lower(): value for name, value in names.items()}
        self._draws = draws
        self._place = place
        self._seen: Counter[str] = Counter()

    def value(self, pieces: list[Piece], source: str, before: Sequence[Piece]) -> list[Piece] | None:
        """Return what a macro gives; None for an unknown one. `source` is its text, `before` what stands before it."""
        head = pieces[0] if pieces and isinstance(pieces[0], str) else ""
        name = head.lower() if len(pieces) == 1 else ""
        if head.startswith("//"):
            return []
        if name in self._names:
            return [_begun(self._names[name], before)]
        if name in _CLOCK:
            return [_CLOCK[name](self._draws.at or datetime.now().astimezone())]
        if name in _PLAIN:
            return list(_PLAIN[name])
        if drawing := _DRAW.match(head):
            items = _items([head[drawing.end() :], *pieces[1:]])
            return items[self._number(source, len(items))]
        rolling = _ROLL.fullmatch(_joined(pieces)) if head[:4].lower() == "roll" else None
        return self._roll(rolling, source) if rolling else None

    def _number(self, source: str, below: int) -> int:
        """Draw a number for a macro; where the same stands several times in a text, each draws its own."""
        self._seen[source] += 1
        drawn = f"{self._draws.seed}\0{self._place}\0{source}\0{self._seen[source]}"
        digest = hashlib.sha256(drawn.encode(errors="replace")).digest()
        return int.from_bytes(digest[:16], "big") % below

    def _roll(self, rolling: re.Match[str], source: str) -> list[Piece] | None:
        first, second, more = rolling.groups()
        dice, sides = (int(first or 1), int(second)) if second else (1, int(first or 0))
        if not (0 < dice <= MAX_DICE and 0 < sides <= MAX_SIDES):
            return None
        total = sum(self._number(source, sides) + 1 for _ in range(dice))
        return [str(total + int((more or "0").replace(" ", "")))]


def _clock_time(at: datetime) -> str:
    return at.strftime("%I:%M %p").lstrip("0")


def _date(at: datetime) -> str:
    return f"{at:%B} {at.day}, {at.year}"


_CLOCK: Mapping[str, Callable[[datetime], str]] = {
    "time": _clock_time,
    "date": _date,
    "weekday": lambda at: f"{at:%A}",
    "isotime": lambda at: f"{at:%H:%M}",
    "isodate": lambda at: f"{at:%Y-%m-%d}",
}
_PLAIN: Mapping[str, Sequence[Piece]] = {"newline": ("\n",), "noop": (), "trim": (_Trim(),)}


def _items(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Part the choices of a draw: at `::` if there is one, else at commas, which `\\,` isn't."""
    by_colons = any(isinstance(piece, str) and "::" in piece for piece in pieces)
    items: list[list[Piece]] = [[]]
    for piece in pieces:
        if not isinstance(piece, str):
            items[-1].append(piece)
            continue
        first, *rest = piece.split("::") if by_colons else _COMMA.split(piece)
        items[-1].append(first)
        items += [[part] for part in rest]
    return items if by_colons else [_stripped(item) for item in items]


def _stripped(item: list[Piece]) -> list[Piece]:
    """A choice between commas: without the blanks around it, and `\\,` as a comma."""
    texts: list[Piece] = [piece.replace("\\,", ",") if isinstance(piece, str) else piece for piece in item]
    if texts and isinstance(texts[0], str):
        texts[0] = texts[0].lstrip()
    if texts and isinstance(texts[-1], str):
        texts[-1] = texts[-1].rstrip()
    return texts


def _begun(name: str, before: Sequence[Piece]) -> str:
    """A name as it stands there: “the user” at a sentence's beginning is “The user”."""
    if name in (THE_USER, YOU) and _BEGINS.search(_joined(before[-6:])[-80:]) is not None:
        return name[0].upper() + name[1:]
    return name


def _joined(pieces: Sequence[Piece]) -> str:
    """The pieces as one text; a trim takes the line breaks on both sides of it."""
    texts: list[str] = []
    is_trimming = False
    for piece in _flat(pieces):
        if isinstance(piece, _Trim):
            is_trimming = True
            while texts and not texts[-1].strip("\r\n"):
                texts.pop()
            texts[-1:] = [text.rstrip("\r\n") for text in texts[-1:]]
            continue
        text = piece.lstrip("\r\n") if is_trimming else piece
        is_trimming = is_trimming and not text
        texts.append(text)
    return "".join(texts)


def _flat(pieces: Sequence[Piece]) -> Iterator[str | _Trim]:
    for piece in pieces:
        if isinstance(piece, list):
            yield from _flat(piece)
        else:
            yield piece
