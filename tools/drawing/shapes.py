"""Shapes as SVG: a palette, paths and strokes, and the sheets, labels and arrows of the engine's drawings."""

import math
from collections.abc import Iterable
from typing import Final

INK: Final = "#14172f"
NIGHT: Final = "#23284f"
DUSK: Final = "#434a86"
PERI: Final = "#6a74b8"
MIST: Final = "#a9bbe6"
CREAM: Final = "#fff4e0"
SAND: Final = "#f7d9ae"
BUTTER: Final = "#ffd25e"
GLOW: Final = "#ffc23d"
AMBER: Final = "#ffb020"
ORANGE: Final = "#ff8617"
EMBER: Final = "#f2541b"
RED: Final = "#d42e1e"
WINE: Final = "#8c1d2c"
CHESTNUT: Final = "#8f4630"
UMBER: Final = "#4a2632"
COPPER: Final = "#d08a55"
CLAY: Final = "#b06a3c"
SEA: Final = "#2c8582"
FOAM: Final = "#6fc0b2"
HAZE: Final = "#e3eafb"

Point = tuple[float, float]


def mix(colour: str, other: str, share: float) -> str:
    """The colour, with a share of the other stirred in."""
    pairs = ((int(colour[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)


def num(value: float) -> str:
    """A number as short as SVG allows at a tenth of a pixel."""
    return f"{round(value, 1):g}"


def element(tag: str, *children: str, **attributes: str | float | None) -> str:
    """An SVG element; `stroke_width=3` becomes `stroke-width="3"`, and None leaves an attribute out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{num(value) if isinstance(value, int | float) else value}"'
        for name, value in attributes.items()
        if value is not None
    )
    if not children:
        return f"<{tag}{written}/>"
    return f"<{tag}{written}>{''.join(children)}</{tag}>"


def circle(centre: Point, radius: float, fill: str, **more: str | float | None) -> str:
    return element("circle", cx=centre[0], cy=centre[1], r=radius, fill=fill, **more)


def ellipse(centre: Point, radii: Point, fill: str, **more: str | float | None) -> str:
    return element("ellipse", cx=centre[0], cy=centre[1], rx=radii[0], ry=radii[1], fill=fill, **more)


def box(centre: Point, size: Point, radius: float, fill: str, **more: str | float | None) -> str:
    """A rounded rectangle, told by its centre."""
    (cx, cy), (width, height) = centre, size
    return element(
        "rect", x=cx - width / 2, y=cy - height / 2, width=width, height=height, rx=radius, fill=fill, **more
    )


def path(d: str, fill: str, **more: str | float | None) -> str:
    return element("path", d=d, fill=fill, **more)


def stroke(d: str, colour: str, width: float, **more: str | float | None) -> str:
    """A line with round ends, the only kind in the family."""
    return element(
        "path",
        d=d,
        fill="none",
        stroke=colour,
        stroke_width=width,
        stroke_linecap="round",
        stroke_linejoin="round",
        **more,
    )


def group(*children: str, **more: str | float | None) -> str:
    return element("g", *children, **more)


def placed(*children: str, at: Point = (0, 0), scale: float = 1, turn: float = 0) -> str:
    """The children moved to a point, turned by degrees and scaled there."""
    steps = [f"translate({num(at[0])} {num(at[1])})"]
    if turn:
        steps.append(f"rotate({num(turn)})")
    if scale != 1:
        steps.append(f"scale({round(scale, 3):g})")
    return group(*children, transform=" ".join(steps))


def clipped(name: str, outline: str, *children: str) -> str:
    """The children, seen only inside the outline; the name is the clip's id within one picture."""
    return element("clipPath", outline, id=name) + group(*children, clip_path=f"url(#{name})")


def squircle(centre: Point, half: float, power: float = 4.6) -> str:
    """The path of a superellipse: the tile every avatar stands on."""
    points = []
    for step in range(96):
        angle = math.tau * step / 96
        cos, sin = math.cos(angle), math.sin(angle)
        x = centre[0] + half * math.copysign(abs(cos) ** (2 / power), cos)
        y = centre[1] + half * math.copysign(abs(sin) ** (2 / power), sin)
        points.append(f"{num(x)} {num(y)}")
    return "M" + "L".join(points) + "Z"


def svg(width: int, height: int, title: str, *children: str) -> str:
    """A whole picture; the title is what a screen reader says."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, f"<title>{title}</title>", *children, "</svg>", ""])


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
