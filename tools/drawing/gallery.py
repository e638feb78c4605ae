"""The list of pictures: what each is called, how large its PNG is, and what draws it."""

from collections.abc import Callable
from dataclasses import dataclass

from drawing.helpers import edith, penny, ravi, sofia
from drawing.heroes import menny_mistral, menny_mixtral
from drawing.human import human
from drawing.logo import favicon, logo
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
    Picture("menny-mistral", 1200, 800, menny_mistral),
    Picture("menny-mixtral", 1200, 800, menny_mixtral),
    Picture("logo", 880, 200, logo),
    Picture("favicon", 64, 64, favicon, keeps_svg=False),
)
