"""Files: read only where they are plain files, written whole or not at all, and changed by one process at a time."""

import errno
import fcntl
import os
import re
import stat
import tempfile
import time
import unicodedata
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from menny.errors import StorageError

UNFINISHED = (".menny-", ".tmp")  # a file's name while it is being written
FORMER_UNFINISHED = re.compile(r"\.(?=[a-z0-9_]*[0-9_])[a-z0-9_]{8}")  # as tempfile names them
FORMER_AGE = 60.0  # seconds after which such a file, which bears no lock, is surely dead
MAX_ID = 40  # characters of a file's name that is made of a title

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def file_id(name: str, taken: Container[str], otherwise: str) -> str:
    """Return a file's name, without the ending, for a name: plain letters, digits and hyphens, and not taken.

    `otherwise` is taken for a name that has none of these.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_ID].strip("-") or otherwise
    tries = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
    return next(one for one in tries if one not in taken)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """Return a plain file's content, at most `limit` bytes of it.

    Raises OSError, which names what stands in the file's place: a pipe or a device is never waited for.
    """
    _check_is_file(os.stat(path).st_mode)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _check_is_file(os.fstat(file.fileno()).st_mode)
        return file.read() if limit is None else file.read(limit)


def write_atomic(path: Path, content: bytes) -> None:
    """Put a file into its place in one step, so that it is there whole or as it was before; as `open_atomic`."""
    with open_atomic(path) as file:
        file.write(content)


@contextmanager
def open_atomic(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write, which gets its place in one step, at the end of the block; an error leaves what was there.

    Where the path is a link, the file it leads to is written. Without `sync`, a failing machine may leave it cut off:
    for files that bear a checksum. Raises OSError, also where something that isn't a file stands there.
    """
    path = Path(os.path.realpath(path))
    make_folder(path.parent)
    check_is_file(path)
    handle, unfinished = _unfinished_file(path.parent)
    try:
        with os.fdopen(handle, "wb") as file:  # its lock holds until it has its name
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def check_is_file(path: Path) -> None:
    """Raise OSError, which names what it is, where something that isn't a plain file stands at a path."""
    if os.path.exists(path):
        _check_is_file(os.stat(path).st_mode)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for nobody but their owner; one that is there stays as it is."""
    if os.path.isdir(folder):
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Delete what processes that were killed left half written; a file that is still being written is left alone."""
    for folder in folders:
        with suppress(OSError):
            for path in list(folder.iterdir()):
                with suppress(OSError):
                    _remove_if_dead(path)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Change something in a folder while no other process that locks it does. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # which goes with the handle, and with the process
        yield
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the lock of a file's folder, made if it isn't there. Raises StorageError where the block can't write."""
    try:
        make_folder(path.parent)
        with lock_folder(path.parent):
            yield
    except OSError as error:
        raise StorageError(
            f"{file_name(path)} can't be written ({error.strerror}); make room or give Menny the right to write to "
            f"{shown_path(path.parent)}."
        ) from None


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file or folder and return its handle; None where another process holds it. Raises OSError.

    `os.close` of the handle releases the lock, and so does the end of the process.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return handle


def special_kind(path: Path) -> str:
    """Return the kind of what isn't a plain file ("a folder", "a named pipe", …); "" for a file or nothing."""
    try:
        return _kind(os.stat(path).st_mode)
    except OSError:
        return ""


def file_name(path: Path) -> str:
    """A file's name for messages: with its folder, without the path to it."""
    name = f"{path.parent.name}/{path.name}" if path.parent.name else path.name
    return shown_path(name)


def shown_path(path: Path | str) -> str:
    """A path as it can be printed: bytes that aren't UTF-8 are marked, and of a very long one the end is left out."""
    text = str(path).encode(errors="replace").decode()
    return text if len(text) <= 200 else text[:199] + "…"


def _check_is_file(mode: int) -> None:
    """Raise OSError that names what isn't a plain file."""
    if kind := _kind(mode):
        raise OSError(errno.EINVAL, f"it isn't a file but {kind}")


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def _unfinished_file(folder: Path) -> tuple[int, str]:
    """An open file for what is being written, locked as long as this process has it open, and its path."""
    prefix, suffix = UNFINISHED
    while True:
        handle, path = tempfile.mkstemp(suffix, prefix, folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:  # else it was taken for a dead one just before it was locked
                return handle, path
        except OSError:
            os.close(handle)
            os.unlink(path)
            raise
        os.close(handle)


def _remove_if_dead(path: Path) -> None:
    prefix, suffix = UNFINISHED
    state = os.lstat(path)
    is_ours = path.name.startswith(prefix) and path.name.endswith(suffix)
    is_former = (
        FORMER_UNFINISHED.fullmatch(path.name) is not None
        and stat.S_IMODE(state.st_mode) == 0o600
        and time.time() - state.st_mtime > FORMER_AGE
    )
    if not stat.S_ISREG(state.st_mode) or not (is_ours or is_former):
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError while it is being written
        os.unlink(path)
    finally:
        os.close(handle)
