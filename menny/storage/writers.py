"""The processes that write replies: each holds the lock of a small file while it lives.

The system releases the lock when the process ends, however it ends. So neither another process with the same number
nor one that is only silent for long is mistaken for it.
"""

import fcntl
import os
import threading
from pathlib import Path

from menny.files import make_folder, special_kind, try_lock
from menny.storage.errors import UnkeptError
from menny.storage.values import new_id


class Writers:
    """The marks of the processes that write to a store, as files in a folder beside it; in memory without a folder.

    Raises UnkeptError where the folder's name belongs to something else.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._own_mark = new_id()
        self._handle: int | None = None
        self._guard = threading.Lock()
        if folder is not None and not folder.is_dir() and folder.exists():
            kind = special_kind(folder) or "a file"
            raise UnkeptError(f"{folder.name} is {kind}, not a folder: move it elsewhere, then start Menny again.")

    def own_mark(self) -> str:
        """Return this store's mark, which holds until it is closed or the process ends. Raises OSError."""
        with self._guard:
            while self._folder is not None and self._handle is None:
                make_folder(self._folder)
                handle = os.open(self._folder / self._own_mark, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(handle, fcntl.LOCK_EX)
                if (self._folder / self._own_mark).exists():  # else another process removed it before it was locked
                    self._handle = handle
                else:
                    os.close(handle)
        return self._own_mark

    def is_alive(self, mark: str) -> bool:
        """Return whether the process of that mark may still write."""
        if mark == self._own_mark:
            return True
        if self._folder is None:
            return False
        try:
            handle = try_lock(self._folder / mark, shared=True)
        except (OSError, ValueError, TypeError):  # a damaged store may give a name with a NUL, or no text
            return False
        if handle is None:
            return True
        os.close(handle)
        return False

    def remove_dead(self) -> None:
        """Remove the marks of processes that have ended. Raises OSError."""
        if self._folder is not None and self._folder.is_dir():
            for mark in self._folder.iterdir():
                if not self.is_alive(mark.name):
                    mark.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the mark."""
        with self._guard:
            if self._handle is not None:
                os.close(self._handle)
                self._handle, self._own_mark = None, new_id()
                self.remove_dead()
