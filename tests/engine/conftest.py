"""What the engine's tests share: an engine that says what a script tells it."""

# ruff: isort: off
import menny.engine  # noqa: F401 - before anything that imports MLX: OpenBLAS goes under it

# ruff: isort: on
from collections.abc import Iterator
from pathlib import Path

import pytest

from menny.engine import Engine, load_engine, requests
from tests.engine.scripts import write_script


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripted model."""
    return write_script(tmp_path_factory.mktemp("script") / "tiny")


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The scripted model at work, telling its progress without delay."""
    monkeypatch.setattr(requests, "HEARTBEAT", 0.01)
    with load_engine(folder) as engine:
        yield engine


@pytest.fixture
def engine_for_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The same, which serves one request at a time."""
    monkeypatch.setattr(requests, "HEARTBEAT", 0.01)
    with load_engine(folder, parallel=1) as engine:
        yield engine
