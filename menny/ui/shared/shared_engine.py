"""The engine that all tabs share: borrowed for a reply, and replaced when it is idle."""

import gc
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import streamlit as st

from menny.config.paths import CONFIGS, chat_caches_folder, models_folder, own_models_file
from menny.config.settings import Settings, load_settings
from menny.engine import CacheFolder, remove_caches
from menny.engine import Engine as LocalEngine
from menny.engine_protocols import Engine, Phase
from menny.errors import ConfigError, TooLargeError
from menny.models.beside import AS_JUDGE, beside, context_beside
from menny.models.catalogue import load_catalogue
from menny.models.loader import ModelSource, load, prepares, source_of


class LoanCancelled(Exception):  # noqa: N818 - nothing went wrong
    """The borrower gave up waiting."""


class SharedEngine:
    """A holder of at most one engine, as two models seldom fit a machine's memory side by side.

    Borrowers are served in order. Those of the loaded model use it at the same time, as the engine has a queue of its
    own; one of another model waits until the engine is idle, and those behind wait too, so that nobody starves.
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
        self.loading: ModelSource | None = None  # the model being loaded at the moment
        self._loading_phase: Phase = "loading"

    @property
    def loaded(self) -> ModelSource | None:
        """The model that is loaded, if one is."""
        return self._path

    @property
    def is_lent(self) -> bool:
        """True while the engine is in use, or waited for."""
        return bool(self._users or self._queue)

    @property
    def idle_seconds(self) -> float | None:
        """Seconds without use after which the model is unloaded; None for never."""
        return self._idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float | None) -> None:
        with self._changed:
            self._idle_seconds = seconds
            self._restart_timer()

    def holds(self, path: ModelSource) -> bool:
        """Return whether that model is loaded."""
        return self._path == path

    def engine_of(self, place: ModelSource) -> Engine | None:
        """Return the engine of that model if it is loaded, to count tokens with."""
        engine = self._engine
        return engine if self._path == place else None

    def unload(self) -> bool:
        """Unload the model unless it is in use; return whether it was unloaded."""
        ticket = object()
        with self._changed:
            if self.is_lent:
                return False
            self._queue.append(ticket)  # new borrowers wait until it is unloaded
        try:
            self._unload()
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
        return True

    @contextmanager
    def borrow(
        self, path: ModelSource, on_phase: Callable[[Phase], None], is_cancelled: Callable[[], bool]
    ) -> Iterator[Engine]:
        """Lend the engine of a model.

        `on_phase` gets "busy" while others use another model, and "preparing" or "loading" while this one is loaded,
        whoever asked for it first.

        Raises ModelError where the model can't be loaded (the next borrower tries again), and LoanCancelled where
        `is_cancelled` becomes true while waiting.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            self._wait_for_turn(ticket, path, on_phase, is_cancelled)
            engine = self._engine if self._path == path else None
            if engine is None:
                self._loading_phase = "preparing" if self._prepares(path) else "loading"
                on_phase(self._loading_phase)
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
                self._restart_timer()
                self._changed.notify_all()

    def _wait_for_turn(
        self, ticket: object, path: ModelSource, on_phase: Callable[[Phase], None], is_cancelled: Callable[[], bool]
    ) -> None:
        with self._changed:
            while self._queue[0] is not ticket or (self._path != path and self._users):
                if is_cancelled():
                    raise LoanCancelled
                on_phase(self._loading_phase if self.loading == path else "busy")
                self._changed.wait(timeout=0.2)
        if is_cancelled():
            raise LoanCancelled

    def _replace(self, path: ModelSource) -> Engine:
        """Unload the old engine, then load the new one. Only the queue's head gets here, when no loan is open."""
        self._unload()
        self.loading = path
        try:
            engine = self._load(path)
        finally:
            self.loading = None
        self._engine, self._path = engine, path
        return engine

    def _unload(self) -> None:
        old, self._engine, self._path = self._engine, None, None
        if old is not None:
            old.close()
            del old
            gc.collect()

    def _restart_timer(self) -> None:
        """Restart the idle timer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._idle_seconds is not None and self._engine is not None and not self._users:
            self._timer = threading.Timer(self._idle_seconds, self.unload)
            self._timer.daemon = True
            self._timer.start()


def load_engine(source: ModelSource) -> Engine:
    """Load a model as the page does it: one that doesn't fit can be loaded by its options.

    Where a judge is chosen, the context is no longer than leaves room for it.
    """
    options, judge = source.options, chosen_judge()
    if judge and options.context is None and isinstance(source.place, Path):
        options = replace(options, context=context_beside(source.place, judge.place, shared_judge().holds(judge)))
    settings = Settings()
    with suppress(ConfigError):  # the page of models shows it
        settings = load_settings()
    folder = CacheFolder(chat_caches_folder(), int(settings.cache_gigabytes * 2**30))
    try:
        parallel = settings.parallel or options.parallel
        return load(source.place, replace(options, parallel=parallel, cache_folder=folder))
    except TooLargeError as error:
        sentence = f"{error} You can load it anyway, under Options on the Models page."
        raise TooLargeError(sentence, error.needed, error.room) from None


def forget_chat_caches() -> None:
    """Delete the caches of all chats, in memory and on the disk: those of chats that are deleted for good with them."""
    loaded = shared_engine().loaded
    engine = shared_engine().engine_of(loaded) if loaded else None
    if isinstance(engine, LocalEngine):
        engine.forget_caches()
    remove_caches(chat_caches_folder())


def load_judge(source: ModelSource) -> Engine:
    """Load a judge beside the model that chats. Raises TooLargeError where it doesn't fit."""
    chat = shared_engine().loaded
    room = beside(source.place, chat.place if chat else None, "the model that chats", is_loaded=True)
    if not room.fits:
        raise TooLargeError(str(room), room.needed, room.left)
    return load(source.place, source.options)


def chosen_judge() -> ModelSource | None:
    """Return the judge that settings.yaml names, if it is on this machine."""
    with suppress(ConfigError):  # the page shows it
        if judge := load_settings().moderation.judge:
            models, _ = load_catalogue(CONFIGS / "models.yaml", models_folder(), own_file=own_models_file())
            spec = next((one for one in models if one.id == judge), None)
            return source_of(spec, AS_JUDGE) if spec else None
    return None


@st.cache_resource(show_spinner=False)
def shared_judge() -> SharedEngine:
    """Return the engine of the judge, a model of its own beside the one that chats; it rests after the same time."""
    engines = SharedEngine(load_judge)
    with suppress(ConfigError):  # the page of models shows it
        engines.idle_seconds = load_settings().unload_after
    return engines


@st.cache_resource(show_spinner=False)
def shared_engine() -> SharedEngine:
    """Return the engine of this process, with the timer that the user has set."""
    engines = SharedEngine(load_engine, prepares)
    with suppress(ConfigError):  # the page of models shows it
        engines.idle_seconds = load_settings().unload_after
    return engines
