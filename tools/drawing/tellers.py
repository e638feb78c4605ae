"""Those who tell: Nora, Hugo, Luna."""

import math

from drawing.heads import HEAD, Look, avatar, ear, eyes, head, mouth, shell, shoulders
from drawing.shapes import (
    AMBER,
    BUTTER,
    CHESTNUT,
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
    PERI,
    RED,
    SAND,
    UMBER,
    WINE,
    Point,
    box,
    circle,
    ellipse,
    group,
    num,
    path,
    placed,
    stroke,
)


def flame(at: Point, size: float) -> str:
    return placed(
        path(
            "M0 0C-46 0 -60 -42 -34 -78C-30 -60 -20 -54 -12 -56C-22 -96 2 -124 16 -138"
            "C14 -104 56 -78 48 -36C44 -12 26 0 0 0Z",
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
        "M-260 300C-250 200 -190 150 -176 100C-216 -60 -140 -214 6 -214"
        "C150 -214 216 -60 176 100C190 150 250 200 260 300Z",
        NIGHT,
    )
    lining = path("M-160 260C-210 -30 -120 -178 4 -178C124 -178 210 -30 160 260Z", INK)
    lock = (
        "M-112 -84C-170 -40 -176 10 -156 48C-140 80 -172 104 -164 140C-156 176 -180 190 -172 260L-88 260"
        "C-96 200 -72 184 -84 150C-94 122 -82 108 -100 78C-122 40 -124 0 -116 -40Z"
    )
    strand = "M-150 0C-146 50 -128 70 -134 108C-138 140 -126 160 -132 220"
    waves = "".join(
        placed(path(lock, CHESTNUT), stroke(strand, UMBER, 8))
        if side < 0
        else group(path(lock, CHESTNUT), stroke(strand, UMBER, 8), transform="scale(-1 1)")
        for side in (-1, 1)
    )
    part = path(
        "M-146 20C-162 -100 -80 -144 10 -142C90 -140 162 -92 146 20C134 -40 96 -84 30 -108C-16 -66 -106 -66 -146 20Z",
        CHESTNUT,
    )
    face = eyes(Look(lid=0.34, tilt=-6, gaze=(-0.5, 0.1)), Look(lid=0.34, tilt=6, gaze=(-0.5, 0.1))) + mouth(
        (6, 60), 54, 8, turn=-12
    )
    fire = flame((176, 520), 0.66) + flame((336, 520), 0.7) + flame((258, 524), 0.82)
    return avatar(
        "Nora", WINE, RED, placed(cloak, lining, at=HEAD), head(shell(CREAM, ORANGE), face, part, waves), fire
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
        "M0 58C-24 42 -62 48 -82 70C-92 82 -110 84 -124 74C-118 112 -50 124 0 88C50 124 118 112 124 74"
        "C110 84 92 82 82 70C62 48 24 42 0 58Z",
        HAZE,
    )
    weary = eyes(
        Look(lid=0.42, tilt=-12, gaze=(0.1, 0.3), lower=0.12),
        Look(lid=0.42, tilt=12, gaze=(0.1, 0.3), lower=0.12),
        y=-14,
    )
    face = weary + stroke("M-86 32Q-56 48 -34 34M86 32Q56 48 34 34", PERI, 8)
    scarf = stroke("M150 412Q256 470 362 412", RED, 58) + stroke("M150 402Q256 458 362 402", EMBER, 34)
    roll = placed(
        box((0, 20), (74, 260), 12, AMBER),
        box((22, 20), (30, 260), 12, ORANGE),
        box((0, 20), (80, 22), 6, RED),
        ellipse((0, -110), (37, 15), BUTTER),
        stroke("M-14 -110A14 6 0 1 1 4 -105", CLAY, 5),
        at=(426, 372),
        turn=22,
    )
    return avatar(
        "Hugo",
        SAND,
        CREAM,
        roll,
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
    deep = "#2f3569"
    sky = "".join(
        star((x, y), r) for x, y, r in [(72, 118, 20), (126, 58, 11), (462, 356, 12), (44, 236, 10), (440, 80, 12)]
    )
    cap = (
        path(
            "M-152 -40C-150 -150 -80 -214 20 -214C130 -214 236 -150 230 -14L196 -10C190 -60 176 -84 152 -96V-40Z", PERI
        )
        + path(
            "M20 -214C130 -214 236 -150 230 -14L196 -10C190 -60 176 -84 152 -96V-60C140 -130 100 -190 20 -214Z",
            "#5660a4",
        )
        + box((0, -64), (324, 52), 26, HAZE)
        + circle((212, 0), 36, MIST)
        + circle((206, -5), 29, HAZE)
        + star((-60, -132), 28)
        + star((26, -160), 20)
        + star((76, -120), 14)
    )
    look = (Look(lid=0.45, tilt=-7, gaze=(0, 0.2)), Look(lid=0.45, tilt=7, gaze=(0, 0.2)))
    face = eyes(*look, y=4) + mouth((0, 64), 34, 8)
    globe = placed(
        circle((0, 0), 38, ORANGE),
        path("M-38 0A38 38 0 0 1 26 -27A44 44 0 0 1 -24 29A38 38 0 0 1 -38 0Z", AMBER),
        stroke("M-36 -10C-80 10 -70 24 0 14S80 -24 36 -20", CREAM, 9),
        at=(78, 350),
        turn=-6,
    )
    pyjama = star((206, 456), 17) + star((296, 478), 20) + star((356, 446), 13)
    return avatar("Luna", NIGHT, deep, sky, shoulders(DUSK, deep), head(shell(HAZE, MIST), face, cap), pyjama, globe)
