"""A store on a file system that allows no log (WAL), as NFS: chats are kept there too."""

import sqlite3
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from menny.errors import StorageError
from menny.storage import ChatStore, database
from tests.storage.talking import integrity, say, texts


class NoLog(sqlite3.Connection):
    """Refuses a log as SQLite does where programs can't share memory."""

    code = sqlite3.SQLITE_PROTOCOL

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "PRAGMA journal_mode = WAL":
            error = sqlite3.OperationalError("locking protocol")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, parameters)


def refusing(monkeypatch: pytest.MonkeyPatch, code: int = NoLog.code) -> None:
    factory = type("Connection", (NoLog,), {"code": code})
    monkeypatch.setattr(database.sqlite3, "connect", partial(sqlite3.connect, factory=factory))


def without_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use SQLite's own way to lock without it, by a folder beside the file."""
    address = database._address
    monkeypatch.setattr(database, "_address", lambda path: address(path) + "?vfs=unix-dotfile")


def say_many(store: ChatStore, names: Iterable[str]) -> None:
    for name in names:
        say(store, name, f"answer to {name}")


@pytest.mark.parametrize("lay", [refusing, without_shared_memory])
def test_chats_are_kept_read_and_searched_by_two_at_once(file: Path, monkeypatch: pytest.MonkeyPatch, lay: Any) -> None:
    lay(monkeypatch)
    stores = [ChatStore(file), ChatStore(file)]
    names = [[f"question {letter}{number}" for number in range(10)] for letter in "ab"]
    threads = [threading.Thread(target=say_many, args=pair) for pair in zip(stores, names, strict=True)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(stores[0].search("question", limit=100)) <= 20
    for store in stores:
        assert store.notice == ""
        assert len(store.conversations()) == len(store.search("question", limit=100)) == 20
        store.close()
    again = ChatStore(file)
    said = {tuple(texts(again, chat.id)) for chat in again.conversations()}
    assert said == {(name, f"answer to {name}") for mine in names for name in mine}
    again.close()
    assert integrity(file) == "ok"


def test_another_fault_of_the_disk_is_still_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, sqlite3.SQLITE_IOERR_WRITE)
    with pytest.raises(StorageError, match="the disk is full or failing"):
        ChatStore(file)
