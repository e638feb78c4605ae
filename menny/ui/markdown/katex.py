"""Decide whether KaTeX can draw a formula, before the page asks it to: it draws what it can't read in red.

A strict reader of the part of TeX that messages use: https://katex.org/docs/support_table. A formula outside of it
counts as not drawable, so that the page shows it as written.
"""

import re
import unicodedata

from menny.ui.markdown.katex_commands import (
    ACCENTS,
    DELIMITER_CHARACTERS,
    DELIMITERS,
    DISPLAY_ENVIRONMENTS,
    ENVIRONMENTS,
    FONTS,
    FRACTIONS,
    LIMIT_OPERATORS,
    OPERATORS,
    SIZED_DELIMITERS,
    STACKS,
    SYMBOLS,
    TEXTS,
    WITH_OPTION,
)

MAX_CHARACTERS = 4000
MAX_DEPTH = 40

_TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.)|[^\\]", re.DOTALL)
_SPACES = frozenset(" \t\n")
_CHARACTERS = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-*/=<>()[]|.,:;!?"@')
_ESCAPES = frozenset("\\" + character for character in "!#$%&,:;>_{|} ")
_ESCAPES_AS_SCRIPT = frozenset((r"\|",))
_TEXT = re.compile(r"(?:[^\\$&#%^_{}~`]|\\[ ,;:!$&#%_{}])*")
_SIZE = re.compile(r"\s*-?\d{0,2}\.?\d{1,2}(?:em|ex|pt|mm)\s*")
_COLUMNS = re.compile(r"[lcr|]+")


class _InvalidError(Exception):
    """The formula isn't one that KaTeX is known to draw."""


def is_drawable(formula: str, display: bool) -> bool:
    """Return whether KaTeX draws the formula without an error; `display` is one in a line of its own."""
    if not formula.strip() or len(formula) > MAX_CHARACTERS:
        return False
    reader = _Reader(formula, display)
    try:
        reader.read_rows(end="", columns=1)
    except _InvalidError:
        return False
    return True


class _Reader:
    """A recursive descent over the tokens of one formula."""

    def __init__(self, formula: str, display: bool) -> None:
        self.tokens: list[str] = _TOKEN.findall(formula)
        self.display = display
        self.at = 0
        self.depth = 0
        self.is_tagged = False
        self.environments = 0
        if "".join(self.tokens) != formula:  # a backslash at the end
            self.tokens.append("\\")

    @property
    def next(self) -> str:
        """The next piece that isn't a space; empty at the end."""
        while self.at < len(self.tokens) and self.tokens[self.at] in _SPACES:
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        """Consume the next piece that isn't a space."""
        piece = self.next
        if not piece:
            raise _InvalidError
        self.at += 1
        return piece

    def follows(self, piece: str) -> bool:
        """Return whether the piece stands here, with no space before it."""
        return self.tokens[self.at : self.at + 1] == [piece]

    def expect(self, *wanted: str) -> None:
        for piece in wanted:
            if self.at >= len(self.tokens) or self.tokens[self.at] != piece:
                raise _InvalidError
            self.at += 1

    def read_rows(self, end: str, columns: int) -> None:
        r"""Read cells and rows up to `\end` or the end of the formula; 0 columns is any number."""
        cells = 1
        while self.next != end:
            match self.next:
                case "&":
                    self.take()
                    cells += 1
                    if columns and cells > columns:
                        raise _InvalidError
                case "\\\\":
                    self.take()
                    cells = 1
                    self.read_row_gap()
                case _:
                    self.read_atom()

    def read_row_gap(self) -> None:
        r"""Read the size in brackets that may follow `\\`."""
        if self.next == "[":
            inner = self.raw_until("[", "]")
            if not _SIZE.fullmatch(inner):
                raise _InvalidError

    def read_group(self, end: str) -> None:
        """Read atoms up to a closing piece, and that too."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _InvalidError
        while self.next != end:
            self.read_atom()
        self.take()
        self.depth -= 1

    def read_atom(self) -> None:
        """Read a nucleus with its index and exponent."""
        if self.next not in ("^", "_", "'"):
            self.read_nucleus(self.take())
        has: set[str] = set()
        while (script := self.next) in ("^", "_", "'"):
            kind = "^" if script == "'" else script
            if kind in has:
                raise _InvalidError
            has.add(kind)
            self.take()
            if script == "'":
                while self.follows("'"):
                    self.at += 1
                if not self.follows("^"):
                    continue
                self.at += 1
            self.read_argument(may_be_command=True)

    def read_nucleus(self, piece: str) -> None:
        name = piece[1:]
        if piece == "{":
            self.read_group("}")
        elif not piece.startswith("\\"):
            if piece != "~" and not _is_character(piece):
                raise _InvalidError
        elif name in LIMIT_OPERATORS:
            if self.next in (r"\limits", r"\nolimits"):
                self.take()
        elif name in SYMBOLS or name in OPERATORS or piece in _ESCAPES:
            pass
        elif name in SIZED_DELIMITERS:
            self.read_delimiter()
        elif name == "left":
            self.read_left()
        elif name == "begin":
            self.read_environment()
        elif name == "tag" and self.display and not self.is_tagged and not self.depth and not self.environments:
            self.is_tagged = True
            self.read_text()
        else:
            self.read_command(name)

    def read_command(self, name: str) -> None:
        """Read the arguments of a command."""
        if name in TEXTS:
            self.read_text()
        elif name in FONTS or name in ACCENTS:
            if name == "operatorname" and self.next == "*":
                self.take()
            if name == "substack":
                self.read_stack()
            else:
                self.read_argument()
        elif name in WITH_OPTION:
            if self.next == "[":
                self.take()
                self.read_group("]")
            self.read_argument()
        elif name in FRACTIONS or name in STACKS:
            self.read_argument()
            self.read_argument()
        else:
            raise _InvalidError

    def read_argument(self, may_be_command: bool = False) -> None:
        """Read a group, a character, a symbol, or a command that needs no braces."""
        piece = self.take()
        name = piece[1:]
        if piece == "{":
            self.read_group("}")
        elif not piece.startswith("\\"):
            if not _is_character(piece) or not (piece.isascii() or piece.isalnum()):
                raise _InvalidError
        elif name in SYMBOLS or piece in _ESCAPES_AS_SCRIPT:
            pass
        elif may_be_command and (name in FONTS or name in FRACTIONS or name in TEXTS):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _InvalidError
            self.read_command(name)
            self.depth -= 1
        else:
            raise _InvalidError

    def read_stack(self) -> None:
        r"""Read lines in braces with `\\` between them."""
        if self.take() != "{":
            raise _InvalidError
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _InvalidError
        while self.next != "}":
            if self.next == "\\\\":
                self.take()
                self.read_row_gap()
            else:
                self.read_atom()
        self.take()
        self.depth -= 1

    def read_text(self) -> None:
        if self.next != "{":
            raise _InvalidError
        text = self.raw_until("{", "}")
        if not _TEXT.fullmatch(text) or not all(_is_text_character(one) for one in text):
            raise _InvalidError

    def raw_until(self, start: str, end: str) -> str:
        """Return what stands between two tokens, and consume all of it."""
        self.expect(start)
        first = self.at
        while self.at < len(self.tokens) and self.tokens[self.at] != end:
            self.at += 1
        inner = "".join(self.tokens[first : self.at])
        self.expect(end)
        return inner

    def read_delimiter(self) -> None:
        piece = self.take()
        if piece not in DELIMITER_CHARACTERS and not (piece.startswith("\\") and piece[1:] in DELIMITERS):
            raise _InvalidError

    def read_left(self) -> None:
        r"""Read from after `\left` to the delimiter after its `\right`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _InvalidError
        self.read_delimiter()
        while self.next != r"\right":
            if self.next == r"\middle":
                self.take()
                self.read_delimiter()
            else:
                self.read_atom()
        self.take()
        self.read_delimiter()
        self.depth -= 1

    def read_environment(self) -> None:
        r"""Read from after `\begin` to its `\end{…}`."""
        _ = self.next
        name = self.raw_until("{", "}")
        if name not in ENVIRONMENTS or (name in DISPLAY_ENVIRONMENTS and (not self.display or self.depth)):
            raise _InvalidError
        columns = ENVIRONMENTS[name]
        if name == "array":
            _ = self.next
            layout = self.raw_until("{", "}")
            if not _COLUMNS.fullmatch(layout):
                raise _InvalidError
            columns = len(layout.replace("|", ""))
            if not columns:
                raise _InvalidError
        self.depth += 1
        self.environments += 1
        if self.depth > MAX_DEPTH:
            raise _InvalidError
        if self.next == "[":  # the place of an option, which some environments read here
            raise _InvalidError
        self.read_rows(end=r"\end", columns=columns)
        self.take()
        if self.raw_until("{", "}") != name:
            raise _InvalidError
        self.depth -= 1
        self.environments -= 1


def _is_character(one: str) -> bool:
    if one.isascii():
        return one in _CHARACTERS
    return unicodedata.category(one)[0] in "LNSP" and not unicodedata.decomposition(one)


def _is_text_character(one: str) -> bool:
    """A letter with an accent is drawn as two, which KaTeX has for Western European ones only."""
    if one.isascii():
        return True
    if one <= "\u00ff":
        return one.isalpha()
    if "\u2190" <= one <= "\u2bff":  # arrows and operators, which belong in maths
        return False
    return unicodedata.category(one)[0] in "LNSP" and not unicodedata.decomposition(one)
