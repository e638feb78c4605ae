"""Untrusted zip archives: names and lengths of all members are checked before one is read."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menny.errors import ModelError

MOST_MEMBERS = 1 << 16


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; errors, also while it is read, become a ModelError that names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check(path, archive)
            yield archive
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, LookupError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path} can't be read ({reason}): download the file again.", file=path) from error


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS or len({member.filename for member in members}) < len(members):
        raise ModelError(f"{path}: the archive has too many members, or one twice: download the file again.", file=path)
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"{path}: {member.filename[:200]!r} is packed in a way that is not supported.", file=path)
        if stored and member.file_size != member.compress_size:
            raise ModelError(
                f"{path}: {member.filename[:200]!r} is not as long as it says: download the file again.", file=path
            )


def read(archive: zipfile.ZipFile, name: str, count: int, offset: int = 0) -> bytearray:
    """Read exactly `count` bytes of a member into a new buffer. Raises EOFError where it has fewer."""
    data = bytearray(count)
    with archive.open(name) as member:
        member.seek(offset)
        place = 0
        while place < count:
            piece = member.read(min(count - place, 1 << 24))
            if not piece:
                raise EOFError(f"{name[:200]} is cut short")
            data[place : place + len(piece)] = piece
            place += len(piece)
    return data
