"""One SQLite file, or none: a connection to read by, one to write by, and every fault told in a sentence.

Both connections are used by many threads, one at a time. Readers see the last whole state and never wait for a
writer (WAL); writers, of this process and of others, wait for each other.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from menny.errors import StorageError
from menny.files import check_is_file, lock_folder, make_folder
from menny.storage.schema import MIGRATIONS, Migration, migrate, version_of

BUSY_SECONDS = 5.0
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's own words quote what is damaged
BELONGINGS = ("", "-wal", "-shm")
WHOLE = (  # what a store of ours can answer
    "SELECT id, chosen, revision FROM conversations LIMIT 1",
    "SELECT id, parent, text, status, writer FROM messages LIMIT 1",
    "SELECT rowid FROM titles WHERE titles MATCH 'a' LIMIT 1",
    "SELECT rowid FROM said WHERE said MATCH 'a' LIMIT 1",
)


class UnkeptError(StorageError):
    """Something couldn't be read or written, for a reason that lies with the file or the disk."""


class DamagedError(UnkeptError):
    """A file that isn't a store, or no longer."""


class Database:
    """The file at `path`, brought up to date; in memory where there is no path.

    A damaged file is set aside, never deleted, and a new one begun: `notice` then tells so in a sentence. A file that
    can't be written is opened to read, and `notice` says that. Raises StorageError where the file is locked, comes from
    a newer Menny or can't be opened.
    """

    def __init__(
        self, path: Path | None, busy_seconds: float = BUSY_SECONDS, migrations: Sequence[Migration] = MIGRATIONS
    ) -> None:
        self.path = path
        self.notice = ""
        self._busy_seconds = busy_seconds
        self._migrations = migrations
        self._guards = threading.RLock(), threading.RLock()
        with self._told(), _alone(path):
            try:
                self._open()
            except DamagedError:
                self.notice = self._set_aside()
                self._open()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection for reading, for one thread at a time."""
        guard, connection = self._guards[0], self._reader
        with guard, self._told():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: whole when the block ends, and as if it hadn't begun when it fails."""
        with self._guards[1], self._told():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        for connection in {self._reader, self._writer}:
            connection.close()

    def _open(self) -> None:
        self._writer = self._connect()
        try:
            self._prepare(self._writer)
            self._reader = self._writer if self.path is None else self._connect()
        except UNREADABLE as error:
            self._writer.close()
            raise self._fault(error) from error
        except StorageError:
            self._writer.close()
            raise
        if self.path is None:
            self._guards = (self._guards[0],) * 2

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            _address(self.path) if self.path else ":memory:",
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.row_factory = sqlite3.Row
        connection.text_factory = _readable
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make sure that the file is whole and of our version, bringing it there from an earlier one."""
        version = version_of(db)
        if version > len(self._migrations):
            raise UnkeptError(
                f"{self._name}: these chats were written by a newer Menny (version {version}; this one knows "
                f"version {len(self._migrations)}). Update Menny, or move the file elsewhere to begin anew."
            )
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise DamagedError(f"{self._name} is damaged.")
        if self.path is not None and not _is_writable(self.path):
            self.notice = f"{self._name} can't be written: chats can be read, and nothing new is kept."
        elif version < len(self._migrations) or self.path is None:
            if version <= 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise DamagedError(f"{self._name} isn't a store of chats.")
            db.execute("PRAGMA journal_mode = WAL")
            migrate(db, self._migrations)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        for statement in WHOLE:
            db.execute(statement).fetchone()
        if db.execute("SELECT value FROM counters WHERE name = 'list'").fetchone() is None:
            raise DamagedError(f"{self._name} is damaged.")

    def _set_aside(self) -> str:
        assert self.path is not None  # noqa: S101 - what is in memory isn't damaged
        stem = f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        number = next(n for n in range(1, 10_000) if not self.path.with_name(_numbered(stem, n)).exists())
        aside = self.path.with_name(_numbered(stem, number))
        for belonging in BELONGINGS:
            old = Path(f"{self.path}{belonging}")
            if old.exists():
                old.rename(f"{aside}{belonging}")
        _create(self.path)
        return f"{self._name} was damaged: it was set aside as {aside.name}, and a new one was begun."

    @property
    def _name(self) -> str:
        return self.path.name if self.path else "The store"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            raise self._fault(error) from error
        except OSError as error:
            raise UnkeptError(
                f"{self._name} can't be kept in its folder ({error.strerror}): check the folder."
            ) from error

    def _fault(self, error: Exception) -> UnkeptError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in LOCKED:
            return UnkeptError(f"{self._name} is locked by another program: close that, then try again.")
        is_strange = code == sqlite3.SQLITE_ERROR and any(word in str(error) for word in ("no such", "fts5"))
        if code in DAMAGED or is_strange or isinstance(error, UnicodeDecodeError):
            return DamagedError(f"{self._name} is damaged: start Menny anew, and it is set aside.")
        if code == sqlite3.SQLITE_READONLY:
            return UnkeptError(f"{self._name} can't be written: check who may write to it.")
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return UnkeptError(f"The disk is full, or fails: {self._name} can't be written. Make room.")
        if code == sqlite3.SQLITE_CANTOPEN:
            return UnkeptError(f"{self._name} can't be opened: check that its folder is there and may be written.")
        return UnkeptError(f"{self._name} can't be used: {error}.")


def _readable(text: bytes) -> str:
    """A text as it is kept, also one of which a failing disk has spoilt some letters."""
    return text.decode(errors="replace")


def _create(path: Path) -> None:
    """The file and its folder, for nobody but their owner; SQLite gives the files beside it the same mode."""
    make_folder(path.parent)
    for belonging in BELONGINGS:
        check_is_file(Path(f"{path}{belonging}"))
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _address(path: Path) -> str:
    """The file as SQLite is asked for it; where nothing can be written beside it, as one that nobody changes."""
    is_still = not _is_writable(path) and not Path(f"{path}-wal").exists()
    return path.resolve().as_uri() + ("?immutable=1" if is_still else "")


@contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """Open, bring up to date or set aside the store at `path` while no other process does."""
    if path is None:
        yield
        return
    _create(path)
    with lock_folder(path.parent):
        yield


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"
