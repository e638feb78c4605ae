"""A store in a file of its own, and a way to talk into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from menny.storage import ChatStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "chats.db"


@pytest.fixture
def store(file: Path) -> Iterator[ChatStore]:
    opened = ChatStore(file)
    yield opened
    opened.close()
