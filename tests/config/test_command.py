"""A message names the command that works where it is read."""

import sys
from pathlib import Path

import pytest

from menny.config import command as commands
from menny.config.command import command, project_file


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
