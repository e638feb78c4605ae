"""The one engine that all sessions share: lent for the length of a reply, and changed when nobody uses it."""

import gc
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import streamlit as st

from menny import chat
from menny.engine import load_engine


class ClosableEngine(chat.Engine, Protocol):
    """An engine whose memory can be given back."""

    def close(self) -> None: ...


class LoanCancelled(Exception):  # noqa: N818 - nothing went wrong
    """The borrower no longer wants an engine."""


class SharedEngine:
    """Holds one engine at most: two models seldom fit a machine's memory side by side.

    Borrowers are served in the order they come. Those who want the model that is loaded use it at the same time
    (the engine has a queue of its own); one who wants another waits until it is free, and those behind wait too,
    so that no session starves.
    """

    def __init__(self, load: Callable[[Path], ClosableEngine]) -> None:
        self._load = load
        self._engine: ClosableEngine | None = None
        self._path: Path | None = None
        self._users = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def holds(self, path: Path) -> bool:
        """Whether that model is loaded."""
        return self._path == path

    @property
    def waiting(self) -> int:
        """How many borrowers wait."""
        return len(self._queue)

    @contextmanager
    def borrow(
        self, path: Path, on_phase: Callable[[str], None], is_cancelled: Callable[[], bool]
    ) -> Iterator[chat.Engine]:
        """The engine for a model; `on_phase` hears "busy" while others use another, and "loading".

        Raises ModelError where the model can't be loaded (the next borrower tries anew), LoanCancelled where
        `is_cancelled` says so before the loan.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            self._wait_for_turn(ticket, path, on_phase, is_cancelled)
            engine = self._engine if self._path == path else None
            if engine is None:
                on_phase("loading")
                engine = self._replace(path)
            with self._changed:
                self._users += 1
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield engine
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _wait_for_turn(
        self, ticket: object, path: Path, on_phase: Callable[[str], None], is_cancelled: Callable[[], bool]
    ) -> None:
        with self._changed:
            while self._queue[0] is not ticket or (self._path != path and self._users):
                if is_cancelled():
                    raise LoanCancelled
                on_phase("busy")
                self._changed.wait(timeout=0.2)
        if is_cancelled():
            raise LoanCancelled

    def _replace(self, path: Path) -> ClosableEngine:
        """Give the old engine's memory back, then load. Only the queue's head comes here, when nobody has a loan."""
        old, self._engine, self._path = self._engine, None, None
        if old is not None:
            old.close()
            del old
            gc.collect()
        engine = self._load(path)
        self._engine, self._path = engine, path
        return engine


@st.cache_resource(show_spinner=False)
def shared_engine() -> SharedEngine:
    """The process's one."""
    return SharedEngine(load_engine)
