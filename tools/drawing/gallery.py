"""The list of pictures: what each is called, how large its PNG is, and what draws it."""

from collections.abc import Callable
from dataclasses import dataclass

from drawing.helpers import edith, penny, ravi, sofia
from drawing.human import human
from drawing.menny import menny
from drawing.tellers import hugo, luna, nora


@dataclass(frozen=True)
class Picture:
    name: str
    width: int
    height: int
    draw: Callable[[], str]
    keeps_svg: bool = True


def _avatar(name: str, draw: Callable[[], str]) -> Picture:
    return Picture(f"{name}-avatar", 512, 512, draw)


PICTURES = (
    _avatar("menny", menny),
    _avatar("penny", penny),
    _avatar("sofia", sofia),
    _avatar("ravi", ravi),
    _avatar("edith", edith),
    _avatar("nora", nora),
    _avatar("hugo", hugo),
    _avatar("luna", luna),
    _avatar("human", human),
)
