"""The human: the one face in the family without a visor."""

from drawing.heads import HEAD, avatar, shoulders
from drawing.shapes import (
    AMBER,
    CLAY,
    COPPER,
    CREAM,
    EMBER,
    INK,
    NIGHT,
    RED,
    SAND,
    box,
    circle,
    clipped,
    ellipse,
    path,
    placed,
    stroke,
)


def hair() -> str:
    curls = [(-128, -50, 60), (-108, -118, 66), (-42, -158, 70), (40, -158, 72), (108, -114, 66), (130, -48, 58)]
    return placed(*(circle((x, y), radius, NIGHT) for x, y, radius in curls), at=HEAD)


def front_curls() -> str:
    curls = [(-96, -94, 44), (-40, -108, 48), (22, -112, 50), (82, -100, 46)]
    return "".join(circle((x, y), radius, NIGHT) for x, y, radius in curls)


def face() -> str:
    outline = box((0, 4), (248, 252), 118, COPPER)
    return (
        circle((-124, 14), 28, CLAY)
        + circle((124, 14), 28, CLAY)
        + clipped("skin", outline, box((0, 4), (248, 252), 118, CLAY), box((-16, -12), (248, 252), 118, COPPER))
        + ellipse((-52, 8), (15, 19), INK)
        + ellipse((52, 8), (15, 19), INK)
        + circle((-47, 1), 5, CREAM)
        + circle((57, 1), 5, CREAM)
        + stroke("M-76 -30Q-54 -44 -32 -32", NIGHT, 12)
        + stroke("M76 -30Q54 -44 32 -32", NIGHT, 12)
        + ellipse((-80, 50), (24, 15), EMBER, opacity=0.45)
        + ellipse((80, 50), (24, 15), EMBER, opacity=0.45)
        + path("M-40 56Q0 66 40 56C36 92 -36 92 -40 56Z", CREAM)
        + stroke("M0 20Q8 34 -4 36", CLAY, 10)
    )


def human() -> str:
    return avatar(
        "A human",
        RED,
        AMBER,
        hair(),
        shoulders(CREAM, SAND),
        box((256, 390), (96, 72), 36, CLAY),
        stroke("M198 396Q256 466 314 396", SAND, 22),
        placed(face(), front_curls(), at=HEAD),
    )
