"""The pens for the engine's drawings: paper that suits light and dark pages, words, boxes, arrows, squares."""

from collections.abc import Iterable

from drawing.shapes import DUSK, INK, Point, box, element, num, path, stroke, svg

PAPER = "#fffaf0"
LINE = "#e6dcc8"
WIDTH = 880
SANS = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
MONO = "'JetBrains Mono', 'SF Mono', Menlo, Consolas, monospace"


def sheet(height: int, title: str, *parts: str) -> str:
    """A whole drawing."""
    paper = box((WIDTH / 2, height / 2), (WIDTH - 2, height - 2), 18, PAPER, stroke=LINE, stroke_width=2)
    return svg(WIDTH, height, title, paper, *parts)


def words(at: Point, said: str, size: float = 15, colour: str = INK, anchor: str = "middle", bold: bool = False) -> str:
    """A line of text, its middle (or start, or end) at this point."""
    return _text(at, said, SANS, size, colour, anchor, bold)


def caption(y: float, said: str) -> str:
    """A line below a drawing."""
    return words((WIDTH / 2, y), said)


def code(at: Point, said: str, size: float = 14, colour: str = DUSK, anchor: str = "middle") -> str:
    """A line in the type of code: shapes and names."""
    return _text(at, said, MONO, size, colour, anchor, False)


def _text(at: Point, said: str, family: str, size: float, colour: str, anchor: str, bold: bool) -> str:
    escaped = said.replace("&", "&amp;").replace("<", "&lt;")
    return element(
        "text",
        escaped,
        x=at[0],
        y=at[1] + size * 0.35,
        font_family=family,
        font_size=size,
        font_weight="600" if bold else None,
        fill=colour,
        text_anchor=anchor,
    )


def tile(at: Point, size: Point, fill: str, said: str = "", colour: str = INK, letters: float = 15) -> str:
    """A rounded box with a word in its middle."""
    return box(at, size, min(9, size[1] / 4), fill) + (words(at, said, letters, colour) if said else "")


def arrow(points: Iterable[Point], colour: str = DUSK, width: float = 2.5, dashed: bool = False) -> str:
    """A line through these points, with a head at its end."""
    route = list(points)
    (x0, y0), (x, y) = route[-2:]
    length = max(1e-6, ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5)
    dx, dy = (x - x0) / length, (y - y0) / length
    line = "M" + "L".join(f"{num(a)} {num(b)}" for a, b in [*route[:-1], (x - 7 * dx, y - 7 * dy)])
    left, right = (x - 11 * dx + 5 * dy, y - 11 * dy - 5 * dx), (x - 11 * dx - 5 * dy, y - 11 * dy + 5 * dx)
    head = f"M{num(x)} {num(y)}L{num(left[0])} {num(left[1])}L{num(right[0])} {num(right[1])}Z"
    return stroke(line, colour, width, stroke_dasharray="2 6" if dashed else None) + path(head, colour)


def squares(corner: Point, side: float, rows: Iterable[Iterable[str]]) -> str:
    """A grid of coloured squares, its upper left corner here."""
    x0, y0 = corner
    return "".join(
        box((x0 + (column + 0.5) * side, y0 + (row + 0.5) * side), (side - 3, side - 3), 4, colour)
        for row, colours in enumerate(rows)
        for column, colour in enumerate(colours)
    )
