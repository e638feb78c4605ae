"""Menny, sixteen, not impressed: hood, headphones, fringe, half-lidded eyes."""

from drawing.heads import HEAD, Look, avatar, brow, eyes, head, mouth, shell
from drawing.shapes import BUTTER, CREAM, EMBER, INK, NIGHT, ORANGE, RED, SAND, box, path, placed, stroke


def hoodie() -> str:
    return (
        path("M70 540C70 440 120 400 190 392L322 392C392 400 442 440 442 540Z", NIGHT)
        + path("M380 540C396 470 372 420 340 394C400 406 442 446 442 540Z", INK)
        + path("M176 398C196 446 316 446 336 398L336 380L176 380Z", INK)
        + stroke("M206 428L200 480", CREAM, 11)
        + stroke("M306 428L314 470", CREAM, 11)
    )


def hood() -> str:
    return placed(
        path(
            "M-178 40C-196 -110 -110 -190 0 -190C110 -190 196 -110 178 40C170 110 110 140 0 140C-110 140 -170 110 -178 40Z",
            NIGHT,
        ),
        path(
            "M-158 30C-166 -88 -92 -152 0 -152C92 -152 166 -88 158 30C150 104 92 132 0 132C-92 132 -150 104 -158 30Z",
            INK,
        ),
        at=HEAD,
    )


def headphones() -> str:
    return placed(
        stroke("M-172 -10C-178 -128 -98 -198 0 -198C98 -198 178 -128 172 -10", CREAM, 22),
        box((-168, 20), (50, 116), 25, INK),
        box((168, 20), (50, 116), 25, INK),
        box((-186, 20), (42, 92), 21, SAND),
        box((-190, 16), (34, 84), 17, CREAM),
        box((186, 20), (42, 92), 21, SAND),
        box((184, 16), (34, 84), 17, CREAM),
        at=HEAD,
    )


def fringe() -> str:
    """Swept down over the left eye, from a parting on the right."""
    return path(
        "M-150 10C-164 -96 -86 -140 4 -140C90 -140 152 -96 150 -14C136 -52 112 -76 78 -88"
        "C70 -40 0 14 -96 26C-78 8 -66 -8 -60 -26C-92 -20 -122 -10 -150 10Z",
        EMBER,
    ) + path("M78 -88C70 -40 0 14 -96 26C-78 8 -66 -8 -60 -26C0 -36 44 -60 78 -88Z", RED)


def face() -> str:
    return eyes(Look(lid=0.5, tilt=5, gaze=(0.6, 0.25)), Look(lid=0.5, tilt=-2, gaze=(0.6, 0.25))) + mouth(
        (6, 62), 62, -3, turn=-7
    )


def menny() -> str:
    return avatar(
        "Menny",
        ORANGE,
        BUTTER,
        hoodie(),
        hood(),
        head(shell(), face(), fringe(), brow((66, -60), 64, -8, EMBER)),
        headphones(),
    )
