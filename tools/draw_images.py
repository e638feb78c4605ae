"""Draws every picture in images/ again: `python tools/draw_images.py`, or only those named.

The SVGs are written from tools/drawing; Chromium, driven by Playwright, renders them to PNG.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drawing.heroes import menny_mistral, menny_mixtral
from drawing.menny import favicon, human, logo, menny
from drawing.personas import edith, hugo, luna, nora, penny, ravi, sofia
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "images"


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


def write_svg(picture: Picture) -> None:
    if picture.keeps_svg:
        (IMAGES / f"{picture.name}.svg").write_text(picture.draw(), encoding="utf-8")


def render_png(page: Page, picture: Picture) -> None:
    """The picture at its PNG's size, transparent where nothing is drawn."""
    page.set_viewport_size({"width": picture.width, "height": picture.height})
    page.set_content(f"<style>*{{margin:0}}svg{{display:block;width:100vw;height:100vh}}</style>{picture.draw()}")
    page.screenshot(path=IMAGES / f"{picture.name}.png", omit_background=True)


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - {picture.name for picture in PICTURES})
    if unknown:
        print(f"No picture is called {', '.join(unknown)}; there are: {', '.join(p.name for p in PICTURES)}.")
        return 2
    chosen = [picture for picture in PICTURES if not names or picture.name in names]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        for picture in chosen:
            write_svg(picture)
            render_png(page, picture)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
