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
        "M-186 150C-206 -20 -190 -176 0 -176C190 -176 206 -20 186 150C150 164 120 160 96 150L-96 150C-120 160 -150 164 -186 150Z",
        RED,
    )
    bob = path(
        "M-168 150C-196 0 -182 -160 0 -160C182 -160 196 0 168 150C146 158 128 156 116 150C136 70 138 0 124 -62"
        "C60 -84 -30 -84 -92 -66L-124 -62C-138 0 -136 70 -116 150C-128 156 -146 158 -168 150Z",
        EMBER,
    )
    clip = placed(box((0, 0), (66, 20), 10, CREAM), circle((-20, 0), 5, SAND), at=(112, -96), turn=38)
    face = eyes(Look(lid=0.0, gaze=(0, 0.1), pupil=22), Look(lid=0.0, gaze=(0, 0.1), pupil=22)) + mouth((0, 58), 60, 13)
    return avatar(
        "Penny",
        BUTTER,
        CREAM,
        placed(back, at=HEAD),
        shoulders(NIGHT, INK),
        ellipse((214, 412), (56, 34), CREAM, transform="rotate(16 214 412)"),
        ellipse((298, 412), (56, 34), CREAM, transform="rotate(-16 298 412)"),
        head(shell(), face, bob, clip),
    )


def leaf(at: Point, turn: float, colour: str, size: float = 1) -> str:
    return placed(path("M0 0C14 -22 44 -24 60 0C44 24 14 22 0 0Z", colour), at=at, turn=turn, scale=size)


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
    hand = placed(
        box((2, -62), (34, 110), 17, SAND),
        box((0, 12), (92, 84), 38, SAND),
        box((-6, 8), (80, 74), 34, CREAM),
        box((0, -64), (24, 100), 12, CREAM),
        stroke("M-22 2L-22 20M4 0L4 20", SAND, 7),
        box((4, 66), (84, 60), 16, EMBER),
        at=(424, 428),
        turn=8,
    )
    return avatar(
        "Sofia",
        DUSK,
        "#6a74b8",
        placed(bun, at=HEAD),
        shoulders(EMBER, RED),
        head(ear(-1, AMBER, ORANGE), ear(1, AMBER, ORANGE), shell(), face, hair, laurel),
        hand,
    )


def ravi() -> str:
    """A dark beard, square glasses with a brace at each side, a turtleneck."""
    hair = path(
        "M-150 -10C-176 -120 -116 -168 -40 -164C40 -186 172 -160 150 -10C142 -44 130 -70 112 -82C60 -74 0 -92 -60 -88C-100 -86 -138 -60 -150 -10Z",
        UMBER,
    )
    beard = path(
        "M-150 0C-146 30 -136 50 -118 58C-106 82 -70 94 0 94C70 94 106 82 118 58C136 50 146 30 150 0"
        "C166 90 128 176 0 176C-128 176 -166 90 -150 0Z",
        UMBER,
    )
    glasses = "".join(
        box((side * 58, -2), (104, 96), 20, NIGHT, stroke=AMBER, stroke_width=13) for side in (-1, 1)
    ) + stroke("M-6 -12Q0 -18 6 -12", AMBER, 13)
    braces = "".join(
        placed(
            stroke("M8 -24Q-2 -24 -2 -12Q-2 0 -10 0Q-2 0 -2 12Q-2 24 8 24", FOAM, 7),
            at=(side * 84, -2),
            scale=1,
            turn=0 if side < 0 else 180,
        )
        for side in (-1, 1)
    )
    face = (
        glasses
        + placed(
            eyes(Look(lid=0.22, tilt=10, gaze=(0, 0.1)), Look(lid=0.22, tilt=-10, gaze=(0, 0.1)), lid=NIGHT), scale=0.72
        )
        + braces
        + mouth((0, 70), 44, 3)
        + brow((-58, -74), 76, 8, UMBER, weight=20)
        + brow((58, -78), 76, -4, UMBER, weight=20)
    )
    return avatar(
        "Ravi",
        MIST,
        HAZE,
        shoulders(NIGHT, INK),
        head(ear(-1, CLAY, UMBER), ear(1, CLAY, UMBER), shell(COPPER, CLAY), beard, face, hair),
        box((256, 446), (150, 52), 24, DUSK),
    )


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
        box((0, 0), (190, 28), 4, AMBER),
        box((0, -7), (190, 14), 4, BUTTER),
        box((88, 0), (36, 28), 10, RED),
        path("M-95 -14L-134 0L-95 14Z", CREAM),
        path("M-120 -5L-134 0L-120 5Z", INK),
        at=(150, -44),
        turn=-34,
    )
    return avatar(
        "Edith",
        SEA,
        FOAM,
        placed(hair, at=HEAD),
        shoulders(ORANGE, EMBER),
        path("M196 396L256 476L316 396Z", CREAM),
        head(shell(), face, front, pencil),
    )
