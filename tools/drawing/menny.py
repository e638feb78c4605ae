"""Menny, her logo and favicon, and the human across from her."""

import math
from dataclasses import dataclass

from drawing.heads import HEAD, Look, avatar, eyes, head, mouth, shell, shoulders
from drawing.shapes import (
    AMBER,
    BUTTER,
    CLAY,
    COPPER,
    CREAM,
    EMBER,
    INK,
    NIGHT,
    ORANGE,
    RED,
    SAND,
    box,
    circle,
    clipped,
    ellipse,
    group,
    num,
    path,
    placed,
    squircle,
    stroke,
    svg,
)


@dataclass(frozen=True)
class Tones:
    """What Menny is painted in; each second colour is the first one's shade."""

    cloth: str = NIGHT
    fold: str = INK
    shell: str = CREAM
    shell_shade: str = SAND
    hair: str = EMBER
    hair_shade: str = RED
    cups: str = CREAM
    cups_shade: str = SAND
    pads: str = INK
    strings: str = CREAM


BORED = (Look(lid=0.5, tilt=5, gaze=(0.6, 0.25)), Look(lid=0.42, tilt=-5, gaze=(0.6, 0.2)))


def hoodie(tones: Tones) -> str:
    """Down past the chest: whoever frames it cuts it off."""
    return (
        path("M70 540C70 440 120 400 190 392L322 392C392 400 442 440 442 540V1120H70Z", tones.cloth)
        + path("M388 1120V560C388 480 376 424 340 394C400 406 442 446 442 540V1120Z", tones.fold)
        + path("M176 398C196 446 316 446 336 398L336 380L176 380Z", tones.fold)
        + stroke("M206 430L200 482", tones.strings, 11)
        + stroke("M306 430L314 470", tones.strings, 11)
    )


def hood(tones: Tones) -> str:
    return placed(
        path(
            "M-178 40C-196 -110 -110 -190 0 -190C110 -190 196 -110 178 40"
            "C170 110 110 140 0 140C-110 140 -170 110 -178 40Z",
            tones.cloth,
        ),
        path(
            "M-158 30C-166 -88 -92 -152 0 -152C92 -152 166 -88 158 30C150 104 92 132 0 132C-92 132 -150 104 -158 30Z",
            tones.fold,
        ),
        at=HEAD,
    )


def headphones(tones: Tones) -> str:
    """Around the head's centre at (0, 0)."""
    cups = "".join(
        box((side * 168, 20), (50, 116), 25, tones.pads)
        + box((side * 186, 20), (42, 92), 21, tones.cups_shade)
        + box((side * 187 - 3, 16), (34, 84), 17, tones.cups)
        for side in (-1, 1)
    )
    return stroke("M-172 -10C-178 -128 -98 -198 0 -198C98 -198 178 -128 172 -10", tones.cups, 22) + cups


def fringe(tones: Tones) -> str:
    """Swept down over the left eye, from a parting on the right."""
    return path(
        "M-148 22C-164 -92 -86 -140 4 -140C92 -140 158 -88 149 8C140 -34 122 -66 96 -86"
        "C72 -30 0 16 -92 30C-76 12 -66 -6 -62 -22C-94 -14 -124 -2 -148 22Z",
        tones.hair,
    ) + path("M96 -86C72 -30 0 16 -92 30C-76 12 -66 -6 -62 -22C4 -30 58 -54 96 -86Z", tones.hair_shade)


def face() -> str:
    return eyes(*BORED) + mouth((6, 62), 62, -3, turn=-7)


def bust(tones: Tones, *features: str, name: str = "shell") -> str:
    """Menny down to the chest, in an avatar's coordinates; the features are what lies on the visor."""
    return group(
        hoodie(tones),
        hood(tones),
        head(shell(tones.shell, tones.shell_shade, name), *features, fringe(tones), headphones(tones)),
    )


def menny() -> str:
    return avatar("Menny", ORANGE, BUTTER, bust(Tones(), face()))


PEN = 27
MIDDLE = 100
X_TOP, BASE = 58, 142
WORD_LEFT = 252


def mark(scale: float, middle: float) -> str:
    """Menny on a tile of 200 by 200, the head's middle at that height."""
    tile = path(squircle((100, 100), 99), ORANGE)
    x, y = HEAD
    close = placed(bust(Tones(), face()), at=(100 - x * scale, middle - y * scale), scale=scale)
    return tile + clipped("mark", tile, close)


def letter_n(x: float) -> str:
    return f"M{num(x)} {BASE}V92a34 34 0 0 1 68 0V{BASE}"


def letter_m(x: float) -> str:
    arch = f"a30 30 0 0 1 60 0V{BASE}"
    return f"M{num(x)} {BASE}V88{arch}M{num(x + 60)} 88{arch}"


def letter_e(x: float) -> str:
    """A circle around (x + 42, MIDDLE), open below its bar."""
    radius, cut = 42, math.radians(66)
    end = (x + radius + radius * math.cos(cut), MIDDLE + radius * math.sin(cut))
    return f"M{num(x + 4)} {MIDDLE}H{num(x + 2 * radius)}A{radius} {radius} 0 1 0 {num(end[0])} {num(end[1])}"


def letter_y(x: float) -> str:
    return f"M{num(x)} {X_TOP}V108a34 34 0 0 0 68 0M{num(x + 68)} {X_TOP}V146a34 34 0 0 1 -34 34h-20"


def wordmark() -> str:
    letters = [(letter_m, 120), (letter_e, 84), (letter_n, 68), (letter_n, 68), (letter_y, 68)]
    x, strokes = float(WORD_LEFT), []
    for draw, width in letters:
        strokes.append(draw(x))
        x += width + 52 - (6 if draw is letter_e else 0)
    return stroke("".join(strokes), EMBER, PEN)


def logo() -> str:
    return svg(880, 200, "Menny", mark(0.47, 108), wordmark())


def favicon() -> str:
    return svg(200, 200, "Menny", mark(0.52, 115))


def human_hair() -> str:
    curls = [(-128, -50, 60), (-108, -118, 66), (-42, -158, 70), (40, -158, 72), (108, -114, 66), (130, -48, 58)]
    return placed(*(circle((x, y), radius, NIGHT) for x, y, radius in curls), at=HEAD)


def front_curls() -> str:
    curls = [(-96, -94, 44), (-40, -108, 48), (22, -112, 50), (82, -100, 46)]
    return "".join(circle((x, y), radius, NIGHT) for x, y, radius in curls)


def human_face() -> str:
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
        human_hair(),
        shoulders(CREAM, SAND),
        box((256, 390), (96, 72), 36, CLAY),
        stroke("M198 396Q256 466 314 396", SAND, 22),
        placed(human_face(), front_curls(), at=HEAD),
    )
