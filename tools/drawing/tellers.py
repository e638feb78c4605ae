"""Those who tell: Nora, Hugo, Luna."""

import math

from drawing.heads import HEAD, Look, avatar, ear, eyes, head, mouth, shell, shoulders
from drawing.shapes import (
    AMBER,
    BUTTER,
    CLAY,
    COPPER,
    CREAM,
    DUSK,
    EMBER,
    HAZE,
    INK,
    MIST,
    NIGHT,
    ORANGE,
    RED,
    SAND,
    UMBER,
    WINE,
    Point,
    box,
    circle,
    ellipse,
    num,
    path,
    placed,
    stroke,
)


def flame(at: Point, size: float) -> str:
    return placed(
        path(
            "M0 0C-46 0 -60 -42 -34 -78C-30 -60 -20 -54 -12 -56C-22 -96 2 -124 16 -138C14 -104 56 -78 48 -36C44 -12 26 0 0 0Z",
            EMBER,
        ),
        path(
            "M2 0C-28 0 -34 -30 -16 -52C-12 -40 -4 -38 0 -42C-2 -64 8 -76 16 -84C16 -62 34 -46 30 -22C28 -8 16 0 2 0Z",
            AMBER,
        ),
        at=at,
        scale=size,
    )


def nora() -> str:
    """A cloak's hood, long waves, light from a fire below."""
    cloak = path(
        "M-250 300C-250 200 -190 150 -176 100C-216 -60 -140 -214 6 -214C150 -214 216 -60 176 100C190 150 250 200 250 300Z",
        NIGHT,
    )
    lining = path("M-160 150C-200 -30 -120 -176 4 -176C124 -176 200 -30 160 150Z", INK)
    waves = path(
        "M-126 -70C-176 -20 -120 30 -156 80C-186 126 -130 160 -150 250L-84 250C-72 190 -116 170 -108 120C-100 70 -120 60 -118 0Z",
        ORANGE,
    ) + path(
        "M126 -70C176 -20 120 30 156 80C186 126 130 160 150 250L84 250C72 190 116 170 108 120C100 70 120 60 118 0Z",
        EMBER,
    )
    part = path(
        "M-140 10C-156 -100 -80 -140 10 -138C90 -136 150 -92 140 10C128 -40 96 -84 26 -104C-20 -66 -100 -66 -140 10Z",
        ORANGE,
    )
    face = eyes(Look(lid=0.34, tilt=-6, gaze=(-0.5, 0.1)), Look(lid=0.34, tilt=6, gaze=(-0.5, 0.1))) + mouth(
        (4, 60), 54, 8, turn=-12
    )
    return avatar(
        "Nora",
        WINE,
        RED,
        placed(cloak, lining, at=HEAD),
        head(shell(SAND, ORANGE), face, part, waves),
        flame((196, 520), 0.9),
        flame((322, 524), 0.8),
        flame((258, 528), 1.2),
    )


def hugo() -> str:
    """A brimmed hat, a moustache, bags under the eyes, a rolled map on his back."""
    hat = (
        path("M-112 -92C-112 -180 -86 -214 -40 -206C-16 -202 -6 -190 10 -194C60 -216 112 -196 112 -92Z", CLAY)
        + path("M-113 -116C-60 -100 60 -100 113 -116L114 -84L-114 -84Z", RED)
        + path(
            "M-220 -78C-170 -104 -70 -92 0 -92C70 -92 170 -104 220 -78C200 -46 80 -52 0 -52C-80 -52 -200 -46 -220 -78Z",
            UMBER,
        )
    )
    moustache = path(
        "M0 44C-24 28 -64 34 -84 58C-94 70 -112 72 -126 62C-120 100 -50 112 0 74C50 112 120 100 126 62C112 72 94 70 84 58C64 34 24 28 0 44Z",
        HAZE,
    )
    face = eyes(Look(lid=0.42, tilt=-12, gaze=(0.1, 0.3)), Look(lid=0.42, tilt=12, gaze=(0.1, 0.3)), y=-6) + stroke(
        "M-84 48Q-56 60 -34 46M84 48Q56 60 34 46", DUSK, 9
    )
    scarf = stroke("M150 412Q256 470 362 412", RED, 58) + stroke("M150 402Q256 458 362 402", EMBER, 34)
    tube = placed(
        box((0, 0), (64, 220), 16, CREAM),
        box((14, 0), (36, 220), 16, SAND),
        box((0, -104), (72, 26), 13, AMBER),
        at=(424, 372),
        turn=28,
    )
    return avatar(
        "Hugo",
        SAND,
        CREAM,
        tube,
        shoulders(NIGHT, INK, width=360),
        stroke("M120 440L330 560", UMBER, 30),
        head(ear(-1, CLAY, UMBER), ear(1, CLAY, UMBER), shell(COPPER, CLAY), face, moustache, hat),
        scarf,
    )


def star(at: Point, radius: float, colour: str = BUTTER) -> str:
    """Four points, drawn in at the waist."""
    points = []
    for step in range(4):
        angle = math.tau * step / 4 - math.tau / 4
        tip = (at[0] + radius * math.cos(angle), at[1] + radius * math.sin(angle))
        points.append(f"{'M' if step == 0 else ''}{num(tip[0])} {num(tip[1])}")
    curve = points[0] + "".join(f"Q{num(at[0])} {num(at[1])} {point}" for point in [*points[1:], points[0][1:]])
    return path(curve + "Z", colour)


def luna() -> str:
    """A night-cap, sleepy eyes, a small planet in orbit."""
    sky = "".join(
        star((x, y), r) for x, y, r in [(70, 120, 18), (112, 64, 10), (446, 236, 12), (52, 262, 9), (330, 48, 9)]
    )
    cap = (
        path("M-156 -40C-150 -150 -60 -214 60 -206C150 -200 206 -140 214 -20C170 -90 150 -104 150 -40Z", DUSK)
        + path("M60 -206C150 -200 206 -140 214 -20C170 -90 150 -104 150 -40C140 -120 110 -180 60 -206Z", "#353b70")
        + box((0, -62), (324, 52), 26, HAZE)
        + circle((208, -4), 34, HAZE)
        + star((-40, -132), 26)
        + star((50, -156), 18)
    )
    face = eyes(Look(lid=0.45, tilt=-7, gaze=(0, 0.2)), Look(lid=0.45, tilt=7, gaze=(0, 0.2)), y=2) + mouth(
        (0, 62), 34, 8
    )
    planet = placed(
        stroke("M-230 40C-240 90 100 60 236 -30", AMBER, 7, stroke_dasharray="1 18"),
        at=HEAD,
    )
    globe = placed(
        circle((0, 0), 34, ORANGE),
        path("M-30 -16A34 34 0 0 0 20 27A34 34 0 1 0 -30 -16Z", AMBER),
        ellipse((0, 0), (58, 15), "none", stroke=CREAM, stroke_width=8),
        at=(84, 360),
        turn=-18,
    )
    return avatar(
        "Luna",
        NIGHT,
        "#343b75",
        sky,
        shoulders(DUSK, "#353b70"),
        planet,
        head(ear(-1, AMBER, ORANGE), shell(HAZE, MIST), face, cap),
        star((216, 458), 16),
        star((300, 480), 20),
        star((352, 452), 12),
        globe,
    )
