"""The mark, Menny close up, and the wordmark, written with one round pen: no font is needed to read it."""

import math

from drawing.heads import HEAD
from drawing.menny import Tones, bust, face
from drawing.shapes import EMBER, ORANGE, clipped, num, path, placed, squircle, stroke, svg

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
