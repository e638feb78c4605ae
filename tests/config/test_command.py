"""A message names the command that works where it is read."""

import sys
import tomllib
from pathlib import Path

import pytest

from menny.config import command as commands
from menny.config.command import command, project_file
from menny.config.paths import CONFIGS, PACKAGE, PROJECT, START


@pytest.mark.parametrize(
    ("started", "on_path", "expected"),
    [
        ("/env/bin/menny", True, "menny get x"),
        ("/env/bin/menny", False, "/env/bin/menny get x"),
        ("/code/menny/__main__.py", True, "-m menny get x"),
        ("/env/bin/streamlit", True, "-m menny get x"),
    ],
)
def test_it_is_the_one_that_menny_was_started_by(
    started: str, on_path: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    monkeypatch.setattr(commands.shutil, "which", lambda name: f"/env/bin/{name}" if on_path else None)
    told = command("get", "x")
    assert told == expected or (expected.startswith("-m") and told.endswith(expected) and "python" in told)


def test_a_file_of_the_project_is_named_whole_where_menny_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert project_file("requirements-models.txt") == "requirements-models.txt"
    monkeypatch.setattr(commands, "PROJECT", tmp_path)
    assert project_file("requirements-models.txt") == str(tmp_path / "requirements-models.txt")


def test_the_package_that_pip_installs_brings_what_is_looked_for_in_it() -> None:
    wheel = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    brought = wheel["force-include"]
    assert all((PROJECT / source).exists() for source in brought)
    assert brought["configs"] == f"menny/{CONFIGS.name}"
    assert {brought["images"], brought["requirements-models.txt"]} == {"menny/images", "menny/requirements-models.txt"}
    assert {brought["app.py"], brought[".streamlit"]} == {"menny/start/app.py", "menny/start/.streamlit"}
    assert (PACKAGE.name, PROJECT, START) == ("menny", PACKAGE.parent, PACKAGE.parent)
