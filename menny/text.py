"""Words and numbers made presentable: text that can be kept and shown, near misses, tables, sizes."""

import difflib
import unicodedata
from collections.abc import Sequence


def sanitize(text: str) -> str:
    """A text as it can be encoded, stored and shown: halves of characters joined or marked, control characters gone."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    lines = joined.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in lines if c in "\n\t" or unicodedata.category(c) != "Cc")


def is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen: white space, control and formatting characters only."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)


def close_matches(name: str, known: list[str], count: int = 1) -> list[str]:
    """Those of the known names that were probably meant: they begin with it, or are spelled much like it."""
    folded = name.casefold()
    by_folded = {candidate.casefold(): candidate for candidate in known}
    begin = [candidate for candidate in by_folded if len(folded) > 2 and candidate.startswith(folded)]
    alike = difflib.get_close_matches(folded, list(by_folded), count, 0.6)
    return [by_folded[candidate] for candidate in (begin or alike)[:count]]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first row their heads: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def size(n_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.1f} {unit}"
    return f"{n_bytes:.0f} B"
