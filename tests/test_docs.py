"""The docs speak of code that is there, all of it, and show drawings that the kept script makes."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from menny.config.paths import PROJECT
from menny.config.yaml_reader import parse

DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", *sorted(DOCS.glob("*.md"))]
ENGINE_PAGE = (DOCS / "engine.md").read_text(encoding="utf-8")


def links(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in lines if line[:1] == "#"}


@pytest.fixture(scope="module")
def drawings() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT / "tools"))
        yield importlib.import_module("draw_engine")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), link
        assert not anchor or anchor in headings(there), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_shows_can_be_read(page: Path) -> None:
    for shown in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        assert parse(shown).data


def test_every_page_is_reached_from_the_readme_which_is_short() -> None:
    reached = {(PROJECT / link).resolve() for link in links(PROJECT / "README.md")}
    assert set(PAGES[1:]) <= reached
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_the_tree_names_every_module_and_none_that_is_not_there() -> None:
    tree = re.search(r"```\napp\.py.*?```", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree
    modules = {path.name for path in (PROJECT / "menny").rglob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\b\w+\.py\b", tree[0])) == modules | {"app.py"}


def test_every_name_that_is_linked_to_a_module_is_in_it() -> None:
    named = re.findall(r"\[`([\w.]+)`\]\(\.\./(menny/engine/[\w/]+\.py)\)", ENGINE_PAGE)
    assert len(named) > 30
    for name, file in named:
        if name.endswith(".py"):
            assert file.endswith(f"/{name}"), name
            continue
        code = (PROJECT / file).read_text(encoding="utf-8")
        for part in name.split("."):
            assert re.search(rf"^ *(class|(async )?def) {part}\b", code, re.MULTILINE), f"{name} in {file}"


def test_every_drawing_is_what_the_script_draws_and_is_shown(drawings: ModuleType) -> None:
    kept = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "images").glob("*.svg")}
    assert kept == {name: draw() for name, draw in drawings.DRAWINGS.items()}, "run tools/draw_engine.py"
    assert {f"images/{name}.svg" for name in kept} <= set(links(DOCS / "engine.md"))


def test_every_drawing_has_a_title_and_asks_for_nothing_from_elsewhere(drawings: ModuleType) -> None:
    for name, draw in drawings.DRAWINGS.items():
        root = ElementTree.fromstring(draw())
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None, name
        assert len(title.text or "") > 20, name
        assert not re.search(r"href|<script|<style|url\(", draw()), name
