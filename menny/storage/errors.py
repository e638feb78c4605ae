"""Errors of the store, and SQLite's errors as sentences."""

import errno
import sqlite3

from menny.errors import StorageError

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNNAMED_CONSTRAINT = sqlite3.SQLITE_CONSTRAINT  # without a reason: the full-text index broke one within itself
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's own message quotes damaged bytes
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UnkeptError(StorageError):
    """Something couldn't be read or written, for a reason that lies with the file or the disk."""


class DamagedError(UnkeptError):
    """A file that isn't a store, or no longer."""


def describe_error(name: str, error: Exception) -> UnkeptError:
    """Return the error to show for one that SQLite raised about the file of this name."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code in LOCKED:
        return UnkeptError(f"{name} is locked by another program: close that, then try again.")
    is_damaged = code in DAMAGED or extended == UNNAMED_CONSTRAINT or _lacks_a_table(code, str(error))
    if is_damaged or isinstance(error, UnicodeDecodeError):
        return DamagedError(f"{name} is damaged. Restart Menny: what can be read is then saved to a new file.")
    if code == sqlite3.SQLITE_READONLY:
        return UnkeptError(f"{name} can't be written: check who may write to it.")
    if code == sqlite3.SQLITE_FULL:
        return UnkeptError(f"The disk is full: {name} can't be written. Make room, then try again.")
    if code == sqlite3.SQLITE_IOERR:
        return UnkeptError(f"{name} can't be read or written: the disk is full or failing. Make room, then try again.")
    if code == sqlite3.SQLITE_CANTOPEN:
        return UnkeptError(f"{name} can't be opened: check that its folder is there and may be written.")
    return UnkeptError(f"{name} can't be used: {error}.")


def describe_os_error(name: str, error: OSError) -> UnkeptError:
    """Return the error to show for one that the system raised about the file of this name, or its folder."""
    if error.errno in NO_SPACE:
        return UnkeptError(f"The disk is full: {name} can't be written. Make room, then try again.")
    return UnkeptError(f"{name} can't be kept in its folder ({error.strerror}): check the folder.")


def _lacks_a_table(code: int, message: str) -> bool:
    """Return whether a table of ours is missing or unreadable; a query that is no good isn't the file's damage."""
    words = ("no such table", "no such column", "vtable", "fts5", "SQL logic error")
    is_about_tables = any(word in message for word in words)
    return code == sqlite3.SQLITE_ERROR and is_about_tables and "syntax error" not in message
