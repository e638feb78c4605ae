"""Who is writing a reply: a process that still lives, or one that died over it.

Each store that lets a reply grow holds the lock of a small file of its own. The system lets go of the lock when the
process ends, however it ends: nothing can be mistaken for it, neither another process of the same number nor one
that is only silent for long.
"""

import fcntl
import os
import threading
from pathlib import Path

from menny.storage.values import new_id


class Writers:
    """The marks of those who write to a store, as files in a folder beside it; without a folder, there is only us."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._mine = new_id()
        self._held: int | None = None
        self._guard = threading.Lock()

    def me(self) -> str:
        """This store's mark, which holds until it is closed or the process ends."""
        with self._guard:
            while self._folder is not None and self._held is None:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                held = os.open(self._folder / self._mine, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(held, fcntl.LOCK_EX)
                if (self._folder / self._mine).exists():  # else it was buried before it had the lock
                    self._held = held
                else:
                    os.close(held)
        return self._mine

    def is_alive(self, mark: str) -> bool:
        """Whether the one of that mark may still write."""
        if mark == self._mine:
            return True
        if self._folder is None:
            return False
        try:
            seen = os.open(self._folder / mark, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(seen, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(seen)
        return False

    def mark_interrupted(self) -> None:
        """Remove what is left of those that died."""
        if self._folder is not None and self._folder.is_dir():
            for mark in self._folder.iterdir():
                if not self.is_alive(mark.name):
                    mark.unlink(missing_ok=True)

    def close(self) -> None:
        with self._guard:
            if self._held is not None:
                os.close(self._held)
                self._held, self._mine = None, new_id()
                self.mark_interrupted()
