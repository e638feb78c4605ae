"""One SQLite file: a connection to read, one to write, and a sentence for every error.

Both connections serve many threads, one at a time. Readers see the last committed state and never wait for a writer
(WAL); writers, of this process and of others, wait for each other. What was committed is copied from the log into the
file at once, so that the file alone holds every chat whenever nothing is being written.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from menny.files import lock_folder, make_folder, special_kind, write_atomic
from menny.storage.errors import UNREADABLE, DamagedError, UnkeptError, describe_error, describe_os_error
from menny.storage.rows import lenient_text
from menny.storage.salvage import salvage
from menny.storage.schema import MIGRATIONS, Migration, migrate, transaction, version_of

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
NO_LOG = (  # where programs can't share memory beside a file, as on NFS
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
)
SIDE_FILES = ("-wal", "-shm")  # what SQLite keeps beside a file, by the ends of their names
PROBES = (  # what every store of ours can answer
    "SELECT number, id, title, pinned, created, updated, deleted, chosen, revision FROM conversations LIMIT 1",
    "SELECT number, id, conversation, parent, role, text, status, finish_reason, error, persona, model, figures, "
    "extra, created, deleted, chosen, writer FROM messages LIMIT 1",
    "SELECT rowid FROM titles WHERE titles MATCH 'a' LIMIT 1",
    "SELECT rowid FROM said WHERE said MATCH 'a' LIMIT 1",
)


class Database:
    """The file at `path`, brought up to date; in memory where there is no path.

    A damaged file is set aside, never deleted, and what can be read of it is copied to a new one; `notice` then says
    so in a sentence. That goes for damage that is seen at the start, and for damage that a query met before. A file
    that can't be written is opened to read, and `notice` says that. Raises StorageError where the file is locked,
    comes from a newer Menny or can't be opened.
    """

    def __init__(
        self, path: Path | None, busy_seconds: float = BUSY_SECONDS, migrations: Sequence[Migration] = MIGRATIONS
    ) -> None:
        self.path = path
        self.notice = ""
        self.can_write = True
        self._busy_seconds = busy_seconds
        self._migrations = migrations
        self._guards = threading.RLock(), threading.RLock()
        self._identity = ""
        with self.explaining(), _locked(path):
            try:
                if path is not None and self._is_known_as_damaged():
                    raise DamagedError(f"{self._name} is damaged.")
                self._open()
            except DamagedError:
                self.notice = self._replace_damaged()
                self._open()
        self._identity = _identity(path) if path else ""

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection for reading, for one thread at a time."""
        guard, connection = self._guards[0], self._reader
        with guard, self.explaining():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: whole when the block ends, and as if it hadn't begun when it fails."""
        with self._guards[1], self.explaining():
            with transaction(self._writer):
                yield self._writer
            self._empty_log()

    def close(self) -> None:
        """Close both connections; SQLite then removes the files beside a store that nobody else has open."""
        for connection in {self._reader, self._writer}:
            connection.close()

    def _open(self) -> None:
        self._writer = self._connect(self.path)
        try:
            self._prepare(self._writer)
            self._reader = self._writer if self.path is None else self._connect(self.path)
        except UNREADABLE as error:
            self._writer.close()
            raise describe_error(self._name, error) from error
        except UnkeptError:
            self._writer.close()
            raise
        if self.path is None:
            self._guards = (self._guards[0],) * 2
        self._empty_log()  # a process that was killed may have left it full

    def _connect(self, path: Path | None) -> sqlite3.Connection:
        connection = sqlite3.connect(
            _address(path) if path else ":memory:",
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.row_factory = sqlite3.Row
        connection.text_factory = lenient_text
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Check that the file is whole and of our version, and migrate it from an earlier one."""
        version = version_of(db)
        if version > len(self._migrations):
            raise UnkeptError(
                f"{self._name}: these chats were written by a newer Menny (version {version}; this one knows "
                f"version {len(self._migrations)}). Update Menny, or move the file elsewhere to begin anew."
            )
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise DamagedError(f"{self._name} is damaged.")
        self.can_write = self.path is None or _is_writable(self.path)
        if not self.can_write:
            self.notice = f"{self._name} can't be written: chats can be read, and nothing new is kept."
        elif version <= 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise DamagedError(f"{self._name} isn't a store of chats.")
        else:
            migrate(db, self._migrations)
            if db.execute("PRAGMA foreign_key_check").fetchone():  # a message that no chat or other message leads to
                raise DamagedError(f"{self._name} is damaged.")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        for statement in PROBES:
            db.execute(statement).fetchone()
        if self.can_write:
            _use_log(db)
        if db.execute("SELECT value FROM counters WHERE name = 'list'").fetchone() is None:
            raise DamagedError(f"{self._name} is damaged.")

    def _empty_log(self) -> None:
        """Copy what was committed from the log into the file, as far as readers of other processes let us."""
        if self.path is None or not self.can_write:
            return
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # nothing is lost: it was committed, and the next one copies it
            logger.warning("%s: what was committed stays in its log for now: %s", self._name, error)

    # Damage

    def _replace_damaged(self) -> str:
        """Save what can be read to a new file, set the damaged one aside, and return the notice about it.

        A kill at any moment leaves the damaged file in its place, or the new one ready to be moved there.
        """
        assert self.path is not None  # noqa: S101 - what is in memory isn't damaged
        fresh = _fresh_file(self.path)
        for part in ("", *SIDE_FILES):
            Path(f"{fresh}{part}").unlink(missing_ok=True)
        _create(fresh)
        with closing(self._connect(fresh)) as db:
            db.execute("PRAGMA secure_delete = ON")
            migrate(db, self._migrations)
            with transaction(db):
                saved = salvage(self.path, db)
        aside = _free_name(self.path)
        for part in (*SIDE_FILES, ""):
            old = Path(f"{self.path}{part}")
            if old.exists():
                old.rename(f"{aside}{part}")
        fresh.rename(self.path)
        _damage_note(self.path).unlink(missing_ok=True)
        notice = f"{self._name} was damaged: it was set aside as {aside.name}, and a new one was begun."
        return f"{notice} {saved:,} chat{'' if saved == 1 else 's'} could be saved." if saved else notice

    def _is_known_as_damaged(self) -> bool:
        """Return whether a query met damage in this very file since it was opened last."""
        assert self.path is not None  # noqa: S101 - as above
        note = _damage_note(self.path)
        if not note.is_file():
            return False
        is_about_it = note.read_bytes() == _identity(self.path).encode()
        if not is_about_it:  # the file was replaced meanwhile, by a backup perhaps
            note.unlink(missing_ok=True)
        return is_about_it

    def _remember_damage(self) -> None:
        """Leave a note for the next start, which sets the file aside."""
        if self.path is None or not self._identity:
            return
        try:
            write_atomic(_damage_note(self.path), self._identity.encode())
        except OSError as error:
            logger.warning("%s is damaged, and that can't be noted beside it: %s", self._name, error)

    @property
    def _name(self) -> str:
        return self.path.name if self.path else "The store"

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn the errors of SQLite and of the system into StorageErrors."""
        try:
            yield
        except UNREADABLE as error:
            described = describe_error(self._name, error)
            if isinstance(described, DamagedError):
                self._remember_damage()
            raise described from error
        except OSError as error:
            raise describe_os_error(self._name, error) from error


def _create(path: Path) -> None:
    """Create the file and its folder, for their owner only; SQLite gives the files beside it the same mode."""
    make_folder(path.parent)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _check_kind(path: Path) -> None:
    """Raise UnkeptError where a folder, a pipe or a device has the name of one of the store's files."""
    for part in ("", *SIDE_FILES):
        if kind := special_kind(Path(f"{path}{part}")):
            name = f"{path.name}{part}"
            raise UnkeptError(f"{name} is {kind}, not a file: move it elsewhere, then start Menny again.")


def _use_log(db: sqlite3.Connection) -> None:
    """Write by a log (WAL), so that readers never wait; by a journal on a file system that doesn't allow one."""
    try:
        db.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in NO_LOG:
            raise
        logger.warning("Chats are written by a journal, as their file system allows no log: %s", error)
        db.execute("PRAGMA journal_mode = TRUNCATE")


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _address(path: Path) -> str:
    """Return the URI to open a file by; as one that nobody changes, where nothing can be written beside it."""
    is_still = not _is_writable(path) and not Path(f"{path}-wal").exists()
    return path.resolve().as_uri() + ("?immutable=1" if is_still else "")


@contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    """Open, migrate or set aside the store at `path` while no other process does."""
    if path is None:
        yield
        return
    _check_kind(path)
    make_folder(path.parent)
    with lock_folder(path.parent):
        if _fresh_file(path).is_file() and not path.exists():  # a kill came between two renames
            _fresh_file(path).rename(path)
        _create(path)
        yield


def _fresh_file(path: Path) -> Path:
    """The place of the new file while a damaged one is being replaced."""
    return path.with_name(f"{path.name}.new")


def _damage_note(path: Path) -> Path:
    """The file that tells the next start of damage."""
    return path.with_name(f"{path.name}.damage-found")


def _identity(path: Path) -> str:
    """Return a mark of a file that differs for any other that takes its name."""
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _free_name(path: Path) -> Path:
    """A name for a damaged file that no other has."""
    stem = f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())
