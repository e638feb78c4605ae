"""The pens: palette, and small functions that return SVG elements as text."""

import math
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
