"""Those who help with work: Penny, Sofia, Ravi, Edith."""

from drawing.heads import HEAD, Look, avatar, brow, ear, eyes, head, mouth, shell, shoulders
from drawing.shapes import (
    AMBER,
    BUTTER,
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
    Point,
    box,
    circle,
    ellipse,
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
