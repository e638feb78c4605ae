"""The personas that come along, besides Menny."""

import math

from drawing.heads import HEAD, Look, avatar, brow, ear, eyes, head, mouth, shell, shoulders
from drawing.shapes import (
    AMBER,
    BUTTER,
    CHESTNUT,
    CLAY,
    COPPER,
    CREAM,
    DUSK,
    EMBER,
    FOAM,
    HAZE,
    INK,
    MIST,
    NIGHT,
    ORANGE,
    PERI,
    RED,
    SAND,
    SEA,
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


def penny() -> str:
    """A straight bob with a clip, a round collar, an open face."""
    back = path(
        "M-182 128C-198 -20 -190 -174 0 -174C190 -174 198 -20 182 128Q160 146 120 138H-120Q-160 146 -182 128Z", RED
    )
    bob = path(
        "M-172 124C-190 0 -186 -162 0 -162C186 -162 190 0 172 124Q148 140 120 126C132 70 134 0 124 -62"
        "Q114 -82 90 -82H-90Q-114 -82 -124 -62C-134 0 -132 70 -120 126Q-148 140 -172 124Z",
        EMBER,
    )
    parted = stroke("M-36 -82Q-30 -104 -16 -116M44 -83Q42 -100 34 -112", RED, 8)
    clip = placed(box((0, 0), (62, 20), 10, CREAM), box((0, 0), (34, 6), 3, SAND), at=(124, -84), turn=62)
    look = Look(lid=0.14, gaze=(0, 0.0), pupil=21)
    face = eyes(look, look) + mouth((0, 58), 56, 14)
    collar = "".join(
        ellipse((256 + side * 42, 416), (56, 36), CREAM, transform=f"rotate({-side * 16} {256 + side * 42} 416)")
        for side in (-1, 1)
    )
    return avatar(
        "Penny",
        BUTTER,
        CREAM,
        placed(back, at=HEAD),
        shoulders(NIGHT, INK),
        collar,
        box((256, 404), (60, 24), 8, CREAM),
        stroke("M196 398Q256 412 316 398", SAND, 12),
        head(shell(), face, bob, parted, clip),
    )


def leaf(at: Point, turn: float, colour: str, size: float = 1) -> str:
    return placed(path("M0 0C14 -22 44 -24 60 0C44 24 14 22 0 0Z", colour), at=at, turn=turn, scale=size)


def pointing_hand(at: Point, turn: float) -> str:
    """The index finger up, three folded beside it, the thumb across them."""
    folded = "".join(box((x, y), (30, 56), 15, CREAM) for x, y in [(50, 2), (26, -4), (2, -8)])
    return placed(
        box((8, 74), (80, 70), 14, RED),
        box((8, 62), (92, 26), 13, EMBER),
        box((13, 14), (110, 84), 36, SAND),
        folded,
        stroke("M14.5 -24V16M38.5 -18V18", SAND, 6),
        box((-24, -52), (32, 120), 16, CREAM),
        stroke("M-8 -24V-4", SAND, 6),
        stroke("M-26 26Q0 40 30 24", SAND, 34),
        stroke("M-26 22Q0 36 30 20", CREAM, 27),
        at=at,
        turn=turn,
    )


def sofia() -> str:
    """A silver bun, a laurel, crinkled eyes, one finger raised."""
    bun = circle((0, -186), 62, MIST) + circle((-10, -194), 48, HAZE)
    hair = path(
        "M-160 20C-176 -100 -100 -150 0 -150C100 -150 176 -100 160 20C150 -30 120 -70 0 -76C-120 -70 -150 -30 -160 20Z",
        HAZE,
    ) + path("M160 20C150 -30 120 -70 0 -76C60 -90 110 -96 130 -96C156 -66 164 -28 160 20Z", MIST)
    laurel = "".join(
        leaf((side * x, y), turn if side > 0 else 180 - turn, FOAM if index % 2 else SEA, 1.1)
        for side in (-1, 1)
        for index, (x, y, turn) in enumerate(
            [(22, -128, -38), (62, -118, -24), (98, -98, -2), (128, -66, 24), (146, -28, 44)]
        )
    )
    face = (
        eyes(Look(lid=0.12, gaze=(0.25, -0.1), lower=0.26), Look(lid=0.12, gaze=(0.25, -0.1), lower=0.26))
        + stroke("M-104 -18L-94 -8M-106 6L-94 6", MIST, 7)
        + stroke("M104 -18L94 -8M106 6L94 6", MIST, 7)
        + mouth((2, 58), 56, 13, turn=-4)
        + brow((54, -62), 58, 10, HAZE)
        + brow((-54, -58), 58, -6, HAZE)
    )
    return avatar(
        "Sofia",
        DUSK,
        PERI,
        placed(bun, at=HEAD),
        shoulders(EMBER, RED),
        head(ear(-1, AMBER, ORANGE), ear(1, AMBER, ORANGE), shell(), face, hair, laurel),
        pointing_hand((430, 412), 8),
    )


def ravi() -> str:
    """A dark beard, square glasses with a brace at each side, a turtleneck."""
    hair = path(
        "M-152 0C-180 -124 -116 -172 -40 -166C40 -188 178 -156 152 0C148 -44 138 -66 116 -92"
        "C60 -112 0 -112 -60 -104C-104 -98 -140 -70 -152 0Z",
        UMBER,
    )
    beard = path(
        "M-150 0C-146 30 -136 50 -118 58C-106 82 -70 94 0 94C70 94 106 82 118 58C136 50 146 30 150 0"
        "C166 84 128 164 0 164C-128 164 -166 84 -150 0Z",
        UMBER,
    )
    frames = [box((side * 58, 2), (104, 96), 20, NIGHT, stroke=AMBER, stroke_width=13) for side in (-1, 1)]
    brace = stroke("M8 -24Q-2 -24 -2 -12Q-2 0 -10 0Q-2 0 -2 12Q-2 24 8 24", FOAM, 7)
    braces = placed(brace, at=(-86, 2)) + placed(brace, at=(86, 2), turn=180)
    sharp = eyes(Look(lid=0.22, tilt=10, gaze=(0, 0.1)), Look(lid=0.22, tilt=-10, gaze=(0, 0.1)), lid=NIGHT)
    face = (
        "".join(frames)
        + stroke("M-6 -8Q0 -14 6 -8", AMBER, 13)
        + placed(sharp, at=(0, 4), scale=0.72)
        + braces
        + mouth((0, 72), 44, 3)
        + brow((-62, -74), 72, 7, UMBER, weight=19)
        + brow((62, -80), 72, -3, UMBER, weight=19)
    )
    neck = box((256, 440), (196, 84), 34, DUSK) + stroke("M176 446Q256 476 336 446", NIGHT, 8)
    ears = ear(-1, CLAY, UMBER) + ear(1, CLAY, UMBER)
    return avatar("Ravi", MIST, HAZE, shoulders(NIGHT, INK), neck, head(ears, shell(COPPER, CLAY), beard, face, hair))


def edith() -> str:
    """Grey hair, glasses low, a pencil behind her ear, nothing urgent."""
    curls = [
        (-146, 20, 40),
        (-150, -44, 46),
        (-118, -104, 52),
        (-52, -142, 54),
        (24, -146, 56),
        (94, -122, 52),
        (142, -64, 48),
        (150, 4, 42),
    ]
    hair = "".join(circle((x, y), r, HAZE if x < 60 else MIST) for x, y, r in curls)
    front = (
        circle((-84, -96), 44, HAZE)
        + circle((-20, -112), 46, HAZE)
        + circle((46, -106), 44, HAZE)
        + circle((100, -84), 38, MIST)
    )
    face = (
        eyes(Look(lid=0.56, gaze=(0, 0.6)), Look(lid=0.56, gaze=(0, 0.6)), y=-14)
        + "".join(
            path(
                f"M{x - 46} 32L{x + 46} 32C{x + 46} 74 {x - 46} 74 {x - 46} 32Z",
                "none",
                stroke=AMBER,
                stroke_width=11,
                stroke_linejoin="round",
            )
            for x in (-54, 54)
        )
        + stroke("M-8 36Q0 30 8 36", AMBER, 11)
        + mouth((0, 72), 30, 5)
    )
    pencil = placed(
        box((0, 0), (190, 30), 4, ORANGE),
        box((0, 6), (190, 18), 4, BUTTER),
        box((88, 0), (36, 28), 10, RED),
        path("M-95 -14L-134 0L-95 14Z", CREAM),
        path("M-120 -5L-134 0L-120 5Z", INK),
        at=(176, -64),
        turn=112,
    )
    return avatar(
        "Edith",
        SEA,
        FOAM,
        placed(hair, at=HEAD),
        shoulders(ORANGE, EMBER),
        path("M196 396L256 476L316 396Z", CREAM),
        head(pencil, shell(), face, front),
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
