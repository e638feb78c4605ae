"""The two large pictures: Menny in the mistral, and Menny as eight experts of whom two speak."""

from dataclasses import fields

from drawing.heads import HEAD, Look, eyes, mouth, shell, shut
from drawing.menny import BORED, Tones, bust, headphones
from drawing.shapes import (
    AMBER,
    BUTTER,
    CREAM,
    DUSK,
    EMBER,
    FOAM,
    GLOW,
    INK,
    NIGHT,
    ORANGE,
    RED,
    SEA,
    UMBER,
    WINE,
    Point,
    box,
    circle,
    clipped,
    ellipse,
    group,
    mix,
    num,
    path,
    placed,
    stroke,
    svg,
)

WIDTH, HEIGHT = 1200, 800


def card(title: str, sky: str, *parts: str) -> str:
    """A wide picture with rounded corners."""
    frame = box((WIDTH / 2, HEIGHT / 2), (WIDTH, HEIGHT), 56, sky)
    return svg(WIDTH, HEIGHT, title, clipped("card", frame, frame, *parts))


def wave(y: float, height: float, length: float, shift: float, colour: str) -> str:
    """A band from a rolling edge down to the picture's foot."""
    x = -shift
    d = f"M{num(x)} {num(y)}"
    while x < WIDTH:
        d += f"q{num(length / 4)} {num(-height)} {num(length / 2)} 0t{num(length / 2)} 0"
        x += length
    return path(f"{d}V{HEIGHT}H{num(-shift)}Z", colour)


def cypress(at: Point, size: float, colour: str, shade: str) -> str:
    """Bent to the right by the wind."""
    return placed(
        box((4, 6), (14, 60), 5, UMBER),
        path("M-34 -10C-62 -100 -34 -214 78 -304C70 -214 72 -96 34 -10Q0 8 -34 -10Z", colour),
        path("M2 0C44 -90 30 -200 78 -304C70 -214 72 -96 34 -10Q20 -2 2 0Z", shade),
        at=at,
        scale=size,
    )


def gust(at: Point, length: float, curl: float, colour: str, width: float) -> str:
    """A line of wind that ends in a curl (above, or below where curl is under 0)."""
    r = abs(curl)
    turn = 0 if curl > 0 else 1
    up = -1 if curl > 0 else 1
    return placed(
        stroke(
            f"M0 0H{num(length)}a{num(r)} {num(r)} 0 1 {turn} {num(-r)} {num(up * r)}",
            colour,
            width,
        ),
        at=at,
    )


def leaf(at: Point, turn: float, colour: str, size: float = 1) -> str:
    return placed(path("M0 0C10 -20 40 -22 58 0C40 22 10 20 0 0Z", colour), at=at, turn=turn, scale=size)


def blown_hair() -> str:
    """From the left temple over the head, and away to the right in four tips."""
    return path(
        "M-148 20C-172 -104 -108 -190 -8 -192C70 -194 130 -166 196 -200C186 -160 176 -146 160 -134"
        "C196 -134 230 -140 262 -156C246 -120 220 -102 190 -94C220 -84 240 -84 268 -88C236 -58 196 -48 150 -48"
        "C110 -62 60 -70 14 -66C20 -50 26 -44 40 -34C-20 -40 -60 -54 -92 -58C-120 -44 -138 -20 -148 20Z",
        EMBER,
    ) + path("M-92 -58C-60 -54 -20 -40 40 -34C26 -44 20 -50 14 -66C60 -70 110 -62 150 -48C110 -86 20 -96 -92 -58Z", RED)


def windblown_body() -> str:
    """The hoodie, hands in its pocket, the hood a sail behind the neck."""
    sail = path(
        "M-150 150C-190 40 -60 0 60 40C160 70 250 30 330 70C300 110 320 150 280 190C220 240 120 230 60 210Z", NIGHT
    ) + path("M60 120C80 90 100 90 130 96C200 112 270 84 318 84C296 116 300 140 276 172C210 220 120 214 60 200Z", INK)
    trunk = path("M-230 470C-240 300 -210 190 -90 150L90 150C210 190 240 300 230 470Z", NIGHT)
    shade = path("M130 470C160 330 140 210 70 150L90 150C210 190 240 300 230 470Z", INK)
    collar = path("M-104 140C-80 206 80 206 104 140L70 110H-70Z", INK)
    sleeve = stroke("M-146 430C-150 370 -140 320 -122 284", INK, 9)
    strings = stroke("M-44 196C10 222 60 186 120 222S200 230 232 212", CREAM, 13) + stroke(
        "M52 190C90 178 124 156 174 172S244 166 270 148", CREAM, 13
    )
    return sail + trunk + shade + collar + sleeve + strings


def windblown_menny() -> str:
    squint = (Look(lid=0.58, tilt=8, gaze=(-0.3, 0.3), lower=0.1), Look(lid=0.5, tilt=-3, gaze=(-0.3, 0.3)))
    face = eyes(*squint) + mouth((-4, 62), 62, -4, turn=5)
    stuck = leaf((-104, -52), -38, SEA, 1.5) + placed(stroke("M8 0H76", FOAM, 5), at=(-104, -52), turn=-38)
    return group(windblown_body(), shell(), face, blown_hair(), headphones(Tones()), stuck)


def bubble(at: Point, size: float, turn: float, ground: str, dots: str) -> str:
    """A speech bubble with three dots: something was said, and the wind has it."""
    return placed(
        path("M-40 30L-62 66L-4 40Z", ground),
        box((0, 0), (150, 92), 46, ground),
        *(circle((x, 0), 10, dots) for x in (-36, 0, 36)),
        at=at,
        scale=size,
        turn=turn,
    )


def menny_mistral() -> str:
    hills = [
        wave(600, 54, 760, 120, EMBER),
        cypress((112, 640), 0.92, NIGHT, INK)
        + cypress((200, 654), 0.6, WINE, UMBER)
        + cypress((1030, 680), 0.74, NIGHT, INK),
        wave(662, 46, 700, 60, RED) + wave(726, 40, 560, 300, WINE),
    ]
    ventoux = path("M560 660L888 336Q922 302 956 336L1300 660Z", ORANGE) + path(
        "M796 427L888 336Q922 302 956 336L1052 427C1010 404 988 442 948 416C908 448 866 398 796 427Z", CREAM
    )
    behind = (
        gust((-20, 128), 300, 34, CREAM, 13)
        + gust((690, 84), 300, -28, CREAM, 13)
        + gust((-20, 432), 210, -28, CREAM, 13)
    )
    before = gust((-20, 676), 330, 34, CREAM, 13) + gust((740, 704), 330, -28, CREAM, 13)
    leaves = "".join(
        leaf(at, turn, colour, size)
        for at, turn, colour, size in [
            ((290, 224), 20, EMBER, 0.9),
            ((770, 150), -24, WINE, 0.8),
            ((70, 290), -18, RED, 0.8),
            ((846, 560), 30, BUTTER, 0.8),
            ((560, 60), -12, EMBER, 0.7),
        ]
    )
    return card(
        "Menny in the mistral",
        BUTTER,
        circle((500, 370), 330, GLOW),
        circle((500, 370), 270, AMBER),
        ventoux,
        *hills,
        behind,
        bubble((916, 190), 0.9, 10, CREAM, INK),
        bubble((1092, 292), 0.62, -8, CREAM, EMBER),
        placed(windblown_menny(), at=(490, 404), scale=1.12),
        before,
        leaves,
    )


ASLEEP = Tones(
    cloth="#2c3263",
    fold="#1d2247",
    shell="#4d5596",
    shell_shade="#434a86",
    hair="#3a4179",
    hair_shade="#30366a",
    cups="#5a63a6",
    cups_shade="#4d5596",
    pads="#1d2247",
    strings="#4d5596",
)
LIT = (Tones(cloth=RED, fold=WINE, strings=BUTTER), Tones(cloth=EMBER, fold=RED, hair=BUTTER, hair_shade=AMBER))
STAGE = "#191d3e"
SPOTS = (2, 5)  # which of the eight speak


def asleep(behind: bool) -> Tones:
    """Unlit, and deeper in the dark in the back row."""
    share = 0.32 if behind else 0.0
    return Tones(**{field.name: mix(getattr(ASLEEP, field.name), STAGE, share) for field in fields(Tones)})


def asleep_face() -> str:
    """The other eye sleeps under the fringe."""
    return shut((54, 4), 60, 12, "#5a63a6") + mouth((0, 60), 36, 0, colour="#5a63a6")


def singing_face() -> str:
    song = path("M-26 -12Q0 -16 26 -12C26 26 -26 26 -26 -12Z", AMBER) + path("M-15 8Q0 -4 15 8Q0 22 -15 8Z", RED)
    return eyes(*BORED) + placed(song, at=(6, 60), turn=-5)


def note(at: Point, colour: str, turn: float) -> str:
    return placed(
        ellipse((-14, 30), (17, 13), colour, transform="rotate(-20 -14 30)")
        + stroke("M0 26V-34C10 -14 28 -16 28 4", colour, 8),
        at=at,
        turn=turn,
    )


def lamp(x: float, lit: bool) -> str:
    return (
        box((x, 52), (64, 40), 14, DUSK if lit else "#2c3263")
        + circle((x, 72), 24, BUTTER if lit else "#353b70")
        + (circle((x, 72), 12, CREAM) if lit else "")
    )


def beam(x: float, foot: float) -> str:
    """A lamp's light, falling on one of the eight."""
    return path(f"M{num(x - 22)} 74L{num(x + 22)} 74L{num(x + 190)} {num(foot)}L{num(x - 190)} {num(foot)}Z", BUTTER)


def expert(index: int, x: float, y: float) -> str:
    """One of the eight, the head's middle at (x, y)."""
    lit = index in SPOTS
    tones = LIT[SPOTS.index(index)] if lit else asleep(behind=index % 2 == 0)
    features = singing_face() if lit else asleep_face()
    scale = 0.57
    return placed(
        bust(tones, features, name=f"expert{index}"), at=(x - HEAD[0] * scale, y - HEAD[1] * scale), scale=scale
    )


def menny_mixtral() -> str:
    """The gate above has a lamp for each; even ones stand behind, odd ones in front."""
    columns = [600 + (index - 3.5) * 129 for index in range(8)]
    back = [expert(index, columns[index], 352) for index in range(0, 8, 2)]
    front = [expert(index, columns[index], 598) for index in range(1, 8, 2)]
    notes = note((columns[1] + 8, 190), BUTTER, -12) + note((columns[6] - 24, 166), BUTTER, 12)
    return card(
        "Menny, a mixture of eight experts",
        STAGE,
        *(beam(columns[index], HEIGHT) for index in SPOTS),
        box((600, 30), (1060, 24), 12, "#2c3263"),
        *(lamp(column, index in SPOTS) for index, column in enumerate(columns)),
        *back,
        *front,
        notes,
    )
