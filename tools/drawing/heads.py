"""What the family shares: the tile, the shell with its dark visor, eyes, brows, mouths and shoulders.

Every avatar is 512 by 512. The head's centre is HEAD; a face is drawn around (0, 0) and placed there, so the same face
serves an avatar, a hero and the logo.
"""

import math
from dataclasses import dataclass

from drawing.shapes import (
    AMBER,
    CREAM,
    DUSK,
    INK,
    NIGHT,
    SAND,
    Point,
    box,
    circle,
    clipped,
    group,
    num,
    path,
    placed,
    squircle,
    stroke,
    svg,
)

SIZE = 512
HEAD: Point = (256, 268)
SHELL: Point = (296, 254)
VISOR: Point = (236, 164)
VISOR_AT: Point = (0, 6)
EYE_RADIUS = 43.0
EYE_APART = 54.0
LINE = 15.0


@dataclass(frozen=True)
class Look:
    """How one eye looks: how far the lid is down (0 open, 1 shut), its slope, and where the pupil points (-1 to 1)."""

    lid: float = 0.2
    tilt: float = 0.0
    gaze: Point = (0.0, 0.15)
    lower: float = 0.0
    pupil: float = 19.0


def _upper_lid(radius: float, edge: float) -> str:
    """The part of a circle above the line y = edge."""
    half = math.sqrt(max(radius**2 - edge**2, 0))
    r, x, y = num(radius), num(half), num(edge)
    return f"M-{x} {y}A{r} {r} 0 {int(edge > 0)} 1 {x} {y}Z"


def _lower_lid(radius: float, top: float) -> str:
    """The part of a circle below an arc that rises to y = top: what a cheek pushes up."""
    arc = 1.7 * radius
    centre = top + arc
    y = (radius**2 - arc**2 + centre**2) / (2 * centre)
    x = math.sqrt(max(radius**2 - y**2, 0))
    left, right = f"-{num(x)} {num(y)}", f"{num(x)} {num(y)}"
    return f"M{left}A{num(arc)} {num(arc)} 0 0 1 {right}A{num(radius)} {num(radius)} 0 0 1 {left}Z"


def eye(at: Point, look: Look, lid: str = DUSK, radius: float = EYE_RADIUS, white: str = CREAM) -> str:
    """A white, a pupil with its spark, and a lid that lies over both."""
    reach = radius - look.pupil - 4
    px, py = look.gaze[0] * reach, look.gaze[1] * reach
    parts = [
        circle((0, 0), radius, white),
        circle((px, py), look.pupil, INK),
        circle((px + look.pupil * 0.36, py - look.pupil * 0.36), look.pupil * 0.3, CREAM),
    ]
    over = radius + 1
    if look.lower:
        parts.append(path(_lower_lid(over, radius - 2 * radius * look.lower), INK))
    if look.lid:
        parts.append(placed(path(_upper_lid(over, -radius + 2 * radius * look.lid), lid), turn=look.tilt))
    return placed(*parts, at=at)


def eyes(left: Look, right: Look, lid: str = DUSK, y: float = -2) -> str:
    return eye((-EYE_APART, y), left, lid) + eye((EYE_APART, y), right, lid)


def shut(at: Point, width: float, rise: float, colour: str = CREAM) -> str:
    """A closed eye: an arc, smiling (rise below 0) or sleeping (above)."""
    x, y = at
    return stroke(
        f"M{num(x - width / 2)} {num(y)}Q{num(x)} {num(y + rise * 2)} {num(x + width / 2)} {num(y)}", colour, LINE
    )


def brow(at: Point, width: float, turn: float, colour: str, arch: float = 10, weight: float = LINE) -> str:
    half = width / 2
    return placed(stroke(f"M{num(-half)} 0Q0 {num(-arch)} {num(half)} 0", colour, weight), at=at, turn=turn)


def mouth(at: Point, width: float, bend: float, turn: float = 0, colour: str = AMBER, weight: float = 12) -> str:
    """A line on the visor: bend above 0 smiles, below 0 sulks."""
    half = width / 2
    return placed(stroke(f"M{num(-half)} 0Q0 {num(bend * 2)} {num(half)} 0", colour, weight), at=at, turn=turn)


def shell(colour: str = CREAM, shade: str = SAND, name: str = "shell") -> str:
    """The head itself, darker to the lower right, with the visor let into it."""
    width, height = SHELL
    outline = box((0, 0), SHELL, 112, colour)
    return group(
        clipped(name, outline, box((0, 0), SHELL, 112, shade), box((-18, -20), (width, height), 112, colour)),
        box(VISOR_AT, VISOR, 74, INK),
        clipped(
            name + "-glass",
            box(VISOR_AT, VISOR, 74, INK),
            path("M-118 -76L-30 -76L-96 88L-118 88Z", NIGHT),
        ),
    )


def ear(side: int, colour: str, shade: str) -> str:
    """A round bolt at the head's side: -1 left, 1 right."""
    return box((side * 152, 6), (38, 84), 19, shade) + box((side * 148, 6), (30, 84), 15, colour)


def shoulders(colour: str, shade: str, width: float = 330, top: float = 392) -> str:
    """The body below the head, cut off by the tile."""
    left, right = 256 - width / 2, 256 + width / 2
    low = SIZE + 20
    body = (
        f"M{num(left)} {low}C{num(left)} {num(top + 50)} {num(left + 50)} {num(top)} {num(left + 112)} {num(top)}"
        f"L{num(right - 112)} {num(top)}C{num(right - 50)} {num(top)} {num(right)} {num(top + 50)} {num(right)} {low}Z"
    )
    side = (
        f"M{num(right - 96)} {low}C{num(right - 70)} {num(top + 70)} {num(right - 80)} {num(top + 20)}"
        f" {num(right - 100)} {num(top)}H{num(right + 10)}V{low}Z"
    )
    return clipped("body", path(body, colour), path(body, colour), path(side, shade))


def head(*parts: str, turn: float = 0) -> str:
    return placed(*parts, at=HEAD, turn=turn)


def avatar(title: str, ground: str, halo: str, *parts: str) -> str:
    """A tile with a sun behind, and the parts from back to front, all within its rounded edge."""
    tile = squircle((256, 256), 254)
    return svg(
        SIZE,
        SIZE,
        title,
        clipped("tile", path(tile, ground), path(tile, ground), circle((256, 256), 212, halo), *parts),
    )
