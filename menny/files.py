"""Files: written whole or not at all, and changed by one process at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Put a file into its place in one step, so that it is there whole or as it was before. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Change something in a folder while no other process that asks for the same does. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # which goes with the handle, and with the process
        yield
    finally:
        os.close(handle)


def file_name(path: Path) -> str:
    """A file's name as a user knows it: with its folder, without the machine's path to it."""
    name = f"{path.parent.name}/{path.name}" if path.parent.name else path.name
    return name.encode(errors="replace").decode()  # a name that isn't UTF-8 must not break the message about it
