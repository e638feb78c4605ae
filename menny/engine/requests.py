"""What is asked of the engine's thread, and the other end of it: streams and scores, awaited in a consumer's thread."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from menny.engine.sampling import SamplingParams
from menny.engine_protocols import Chunk, OnProgress, Progress, Score
from menny.errors import MennyError

HEARTBEAT = 0.2  # seconds after which a silent request reports its progress again


@dataclass(frozen=True)
class GenerateWork:
    """What is asked for: chunks that answer the prompt."""

    params: SamplingParams


@dataclass(frozen=True)
class ScoreWork:
    """What is asked for: how likely each continuation of the prompt is."""

    continuations: list[list[int]]
    shared: int  # tokens at the prompt's start that others to be scored begin with too


@dataclass(eq=False)
class Request:
    """What passes between a consumer's thread and the engine's."""

    prompt: list[int]
    work: GenerateWork | ScoreWork
    progress: Progress | None = None  # None: not begun
    events: "queue.SimpleQueue[Chunk | list[Score] | MennyError]" = field(default_factory=queue.SimpleQueue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def end_cancelled(self) -> None:
        """Tell who waits that nothing more will come."""
        self.events.put(Chunk("", finish_reason="cancelled", prompt_tokens=len(self.prompt)))


class RequestQueue(Protocol):
    """Where requests wait for the engine."""

    def requests_ahead(self, request: Request) -> int:
        """How many requests will be served before this one."""

    def withdraw(self, request: Request) -> None:
        """Take a cancelled request out of the line."""


class PendingRequest:
    """The other end of a request: waits for its events in its own thread, and tells meanwhile how it goes."""

    def __init__(self, line: RequestQueue, request: Request, on_progress: OnProgress | None) -> None:
        self._line = line
        self._request = request
        self._on_progress = on_progress

    def wait(self) -> Chunk | list[Score]:
        """The next event; raises the MennyError that ends the request."""
        while True:
            try:
                event = self._request.events.get(timeout=HEARTBEAT)
            except queue.Empty:
                self._report()
                continue
            if isinstance(event, MennyError):
                raise event
            return event

    def _report(self) -> None:
        progress = self._request.progress or Progress("waiting", 0, self._line.requests_ahead(self._request))
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress)
        except BaseException:  # the consumer was stopped within its own callback
            self.cancel()
            raise

    def cancel(self) -> None:
        """End it; a last chunk says "cancelled". Callable from any thread."""
        self._request.cancelled.set()
        self._line.withdraw(self._request)

    def __del__(self) -> None:
        self._request.cancelled.set()


class Stream(PendingRequest, Iterator[Chunk]):
    """One reply as it grows. Cancel it, close it, or let go of it, and its place is free within one token."""

    _ended = False

    def __next__(self) -> Chunk:
        if self._ended:
            raise StopIteration
        try:
            event = self.wait()
        except MennyError:
            self._ended = True
            raise
        assert isinstance(event, Chunk)  # noqa: S101 - it asked for a reply
        self._ended = event.finish_reason is not None
        return event

    def close(self) -> None:
        """Cancel, and read no more."""
        self.cancel()
        self._ended = True
