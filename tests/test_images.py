"""Menny's pictures: there, of the right size, drawn by the kept script, and safe to show."""

import importlib
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import yaml

from menny.config.paths import PROJECT

IMAGES = PROJECT / "images"
KILOBYTE = 1024


@pytest.fixture(scope="module")
def drawings() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT / "tools"))
        yield importlib.import_module("draw_images")


def png_size(path: Path) -> tuple[int, int]:
    start = path.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n", f"{path.name} is no PNG"
    width, height = struct.unpack(">II", start[16:24])
    return width, height


def test_every_persona_has_the_avatar_its_file_names() -> None:
    files = sorted((PROJECT / "configs" / "personas").glob("*.yaml"))
    assert files
    for file in files:
        avatar = PROJECT / yaml.safe_load(file.read_text(encoding="utf-8"))["avatar"]
        assert avatar.parent == IMAGES, f"{file.name} looks for its avatar outside images/"
        assert png_size(avatar) == (512, 512)


def test_the_pictures_the_page_needs_are_drawn(drawings: ModuleType) -> None:
    sizes = {picture.name: (picture.width, picture.height) for picture in drawings.PICTURES}
    assert sizes["human-avatar"] == (512, 512)
    assert sizes["menny-mistral"] == sizes["menny-mixtral"] == (1200, 800)
    assert sizes["favicon"] == (64, 64)
    assert "logo" in sizes


def test_every_png_has_the_size_the_script_gives_it(drawings: ModuleType) -> None:
    for picture in drawings.PICTURES:
        assert png_size(IMAGES / f"{picture.name}.png") == (picture.width, picture.height), picture.name


def test_every_svg_is_what_the_script_draws(drawings: ModuleType) -> None:
    for picture in drawings.PICTURES:
        if picture.keeps_svg:
            kept = (IMAGES / f"{picture.name}.svg").read_text(encoding="utf-8")
            assert kept == picture.draw(), f"{picture.name}: run `python tools/draw_images.py`"


def test_no_svg_lies_in_images_that_the_script_does_not_draw(drawings: ModuleType) -> None:
    drawn = {f"{picture.name}.svg" for picture in drawings.PICTURES if picture.keeps_svg}
    assert {path.name for path in IMAGES.glob("*.svg")} == drawn


def test_svgs_hold_shapes_only_and_refer_to_nothing_outside(drawings: ModuleType) -> None:
    shapes = {"svg", "title", "g", "path", "rect", "circle", "ellipse", "clipPath"}
    for picture in drawings.PICTURES:
        drawn = picture.draw()
        ids = re.findall(r' id="([^"]+)"', drawn)
        assert len(ids) == len(set(ids)), f"{picture.name} uses an id twice"
        for node in ElementTree.fromstring(drawn).iter():
            assert node.tag.removeprefix("{http://www.w3.org/2000/svg}") in shapes
            for name, value in node.attrib.items():
                assert "href" not in name
                assert not name.startswith("on")
                assert "url(" not in value or value.startswith("url(#")


def test_pictures_are_small_enough_for_a_page() -> None:
    for path in IMAGES.glob("*.svg"):
        assert path.stat().st_size < 30 * KILOBYTE, path.name
    for path in IMAGES.glob("*-avatar.png"):
        assert path.stat().st_size < 120 * KILOBYTE, path.name
    for path in IMAGES.glob("menny-mi*.png"):
        assert path.stat().st_size < 250 * KILOBYTE, path.name
