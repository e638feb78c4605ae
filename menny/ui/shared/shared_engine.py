"""The one engine that all sessions share: lent for the length of a reply, and changed when nobody uses it."""

import gc
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import streamlit as st

from menny.config.settings import load_settings
from menny.engine_protocols import Engine, Phase
from menny.errors import ConfigError, TooLargeError
from menny.models.loader import ModelSource, load, prepares


class LoanCancelled(Exception):  # noqa: N818 - nothing went wrong
    """The borrower no longer wants an engine."""


class SharedEngine:
    """Holds one engine at most: two models seldom fit a machine's memory side by side.

    Borrowers are served in the order they come. Those who want the model that is loaded use it at the same time
    (the engine has a queue of its own); one who wants another waits until it is free, and those behind wait too,
    so that no session starves.
    """

    def __init__(
        self, load: Callable[[ModelSource], Engine], prepares: Callable[[ModelSource], bool] = lambda _: False
    ) -> None:
        """`prepares` tells whether loading a model begins with preparing the processor for it."""
        self._load = load
        self._prepares = prepares
        self._engine: Engine | None = None
        self._path: ModelSource | None = None
        self._users = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()
        self._idle_seconds: float | None = None
        self._timer: threading.Timer | None = None
        self.loading: ModelSource | None = None  # what is being loaded at this moment

    @property
    def loaded(self) -> ModelSource | None:
        """The model that is loaded."""
        return self._path

    @property
    def is_lent(self) -> bool:
        """Whether somebody uses it, or waits to."""
        return bool(self._users or self._queue)

    @property
    def idle_seconds(self) -> float | None:
        """After so long without use, the model is unloaded; None: never."""
        return self._idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float | None) -> None:
        with self._changed:
            self._idle_seconds = seconds
            self._wind()

    def holds(self, path: ModelSource) -> bool:
        """Whether that model is loaded."""
        return self._path == path

    def engine_of(self, place: ModelSource) -> Engine | None:
        """The engine of that model, if it is loaded, to ask what needs no reply: how it reads, how much it holds."""
        engine = self._engine
        return engine if self._path == place else None

    def unload(self) -> bool:
        """Give the model's memory back, unless somebody uses it; tells whether it did."""
        ticket = object()
        with self._changed:
            if self.is_lent:
                return False
            self._queue.append(ticket)  # who comes now waits until it is gone
        try:
            self._let_go()
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
        return True

    @property
    def waiting(self) -> int:
        """How many borrowers wait."""
        return len(self._queue)

    @contextmanager
    def borrow(
        self, path: ModelSource, on_phase: Callable[[Phase], None], is_cancelled: Callable[[], bool]
    ) -> Iterator[Engine]:
        """The engine for a model; `on_phase` hears "busy" while others use another, and "preparing" or "loading".

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
                on_phase("preparing" if self._prepares(path) else "loading")
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
                self._wind()
                self._changed.notify_all()

    def _wait_for_turn(
        self, ticket: object, path: ModelSource, on_phase: Callable[[Phase], None], is_cancelled: Callable[[], bool]
    ) -> None:
        with self._changed:
            while self._queue[0] is not ticket or (self._path != path and self._users):
                if is_cancelled():
                    raise LoanCancelled
                on_phase("busy")
                self._changed.wait(timeout=0.2)
        if is_cancelled():
            raise LoanCancelled

    def _replace(self, path: ModelSource) -> Engine:
        """Give the old engine's memory back, then load. Only the queue's head comes here, when nobody has a loan."""
        self._let_go()
        self.loading = path
        try:
            engine = self._load(path)
        finally:
            self.loading = None
        self._engine, self._path = engine, path
        return engine

    def _let_go(self) -> None:
        old, self._engine, self._path = self._engine, None, None
        if old is not None:
            old.close()
            del old
            gc.collect()

    def _wind(self) -> None:
        """Begin to count the idle seconds anew."""
        if self._timer is not None:
            self._timer.cancel()
        if self._idle_seconds is not None and self._engine is not None and not self._users:
            self._timer = threading.Timer(self._idle_seconds, self.unload)
            self._timer.daemon = True
            self._timer.start()


def load_engine(source: ModelSource) -> Engine:
    """Load a model as the page does it: one that doesn't fit can be loaded by its options."""
    try:
        return load(source.place, source.options)
    except TooLargeError as error:
        sentence = f"{error} The options on the page of models load it all the same."
        raise TooLargeError(sentence, error.needed, error.room) from None


@st.cache_resource(show_spinner=False)
def shared_engine() -> SharedEngine:
    """The process's one, with the timer that the user has set."""
    engines = SharedEngine(load_engine, prepares)
    with suppress(ConfigError):  # which the page of models tells
        engines.idle_seconds = load_settings().unload_after
    return engines
