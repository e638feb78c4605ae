"""Menny, sixteen, not impressed: hood, headphones, fringe, half-lidded eyes."""

from dataclasses import dataclass

from drawing.heads import HEAD, Look, avatar, eyes, head, mouth, shell
from drawing.shapes import BUTTER, CREAM, EMBER, INK, NIGHT, ORANGE, RED, SAND, box, group, path, placed, stroke


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
