"""Text for people: sanitizing, close matches of names, tables, sizes."""

import difflib
import unicodedata
from collections.abc import Sequence


def sanitize(text: str) -> str:
    """Make a text safe to encode, store and show: join or replace surrogates, remove control characters."""
    return storable(text.replace("\r\n", "\n").replace("\r", "\n"))


def storable(text: str) -> str:
    """Make a text safe to encode and store, with the line endings that it has."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in joined if c in "\r\n\t" or unicodedata.category(c) != "Cc")


def is_blank(text: str) -> bool:
    """True if a text has no visible character: only white space, control and formatting characters."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)


def excerpt(text: str, length: int) -> str:
    """Shorten a text to so many characters, at the end of a word, with an ellipsis after it."""
    return text if len(text) <= length else text[:length].rsplit(" ", 1)[0] + " …"


def close_matches(name: str, known: list[str], count: int = 1) -> list[str]:
    """Find the known names that were probably meant: they begin with `name`, or are spelled much like it."""
    folded = name.casefold()
    by_folded = {candidate.casefold(): candidate for candidate in known}
    begin = [candidate for candidate in by_folded if len(folded) > 2 and candidate.startswith(folded)]
    alike = difflib.get_close_matches(folded, list(by_folded), count, 0.6)
    return [by_folded[candidate] for candidate in (begin or alike)[:count]]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of cells, the first of them the heads: the first column left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def size(n_bytes: float) -> str:
    """Format a number of bytes in a fitting unit."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.1f} {unit}"
    return f"{n_bytes:.0f} B"
