"""Requests to the engine's thread, the check of their prompts, and the consumer's end of them: streams and scores."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Protocol

from menny.engine.sampling import SamplingParams
from menny.engine_protocols import Chunk, OnProgress, Progress, Score
from menny.errors import EngineError, MennyError, PromptTooLongError

HEARTBEAT = 0.2  # seconds after which a silent request reports its progress again


def checked_prompt(
    prompt_ids: Sequence[int], reserved: int, context_length: int, whose: str = "model", about: str = ""
) -> tuple[list[int], int]:
    """Return a prompt as a list, and the number of tokens that the context leaves after it: `reserved` or more.

    Raises EngineError for what isn't ids, or none of them, and PromptTooLongError, which names the context of `whose`
    it is; `about` stands before a number of tokens that isn't exact.
    """
    try:
        prompt = [index(token) for token in prompt_ids]
    except TypeError as error:
        raise EngineError("The prompt must be a list of token ids: encode the text first.") from error
    room = context_length - len(prompt)
    if not prompt:
        raise EngineError("The prompt is empty: it needs at least one token.")
    if room < reserved:
        raise PromptTooLongError(
            f"The prompt has {about}{len(prompt)} tokens, but the {whose}'s context holds {context_length}: "
            f"shorten it by {reserved - room} or more.",
            tokens=len(prompt),
            limit=context_length - reserved,
        )
    return prompt, room


def check_vocabulary(tokens: Iterable[int], vocab_size: int) -> None:
    """Raise EngineError for an id that isn't the model's."""
    if not all(0 <= token < vocab_size for token in tokens):
        raise EngineError(f"The prompt has a token id outside the model's vocabulary of {vocab_size}.")


@dataclass(frozen=True)
class GenerateWork:
    """The work of a reply: chunks that answer the prompt."""

    params: SamplingParams


@dataclass(frozen=True)
class ScoreWork:
    """The work of scoring: the likelihood of each continuation of the prompt."""

    continuations: list[list[int]]
    shared: int  # first tokens of the prompt that the next prompts to be scored share


@dataclass(eq=False)
class Request:
    """A request, shared by a consumer's thread and the engine's."""

    prompt: list[int]
    work: GenerateWork | ScoreWork
    progress: Progress | None = None  # None: not started
    events: "queue.SimpleQueue[Chunk | list[Score] | MennyError]" = field(default_factory=queue.SimpleQueue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def is_background(self) -> bool:
        """True if it gives way to replies that are watched."""
        return isinstance(self.work, ScoreWork) or self.work.params.background

    @property
    def most_tokens(self) -> int:
        """The most tokens that its cache will hold."""
        if isinstance(self.work, GenerateWork):
            return len(self.prompt) + self.work.params.max_tokens
        return len(self.prompt) + sum(map(len, self.work.continuations))

    def end_cancelled(self) -> None:
        """End the wait for more events."""
        self.events.put(Chunk("", finish_reason="cancelled", prompt_tokens=len(self.prompt)))


class RequestQueue(Protocol):
    """The queue in which requests wait for the engine."""

    def requests_ahead(self, request: Request) -> int:
        """The number of requests that must end before this one can begin; 0: it is about to."""

    def withdraw(self, request: Request) -> None:
        """Remove a cancelled request from the queue."""


class PendingRequest:
    """The consumer's end of a request: waits for its events in the consumer's thread, and reports its progress."""

    def __init__(self, requests: RequestQueue, request: Request, on_progress: OnProgress | None) -> None:
        self._requests = requests
        self._request = request
        self._on_progress = on_progress

    def wait(self) -> Chunk | list[Score]:
        """Wait for the next event; raises the MennyError that ends the request."""
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
        if self._on_progress is None:
            return
        ahead = 0 if self._request.progress else self._requests.requests_ahead(self._request)
        begins = Progress("prefill", 0, len(self._request.prompt))
        progress = self._request.progress or (Progress("waiting", 0, ahead) if ahead else begins)
        try:
            self._on_progress(progress)
        except BaseException:  # the consumer was stopped within its own callback
            self.cancel()
            raise

    def cancel(self) -> None:
        """Cancel the request, from any thread; a last chunk says "cancelled"."""
        self._request.cancelled.set()
        self._requests.withdraw(self._request)

    def __del__(self) -> None:
        self._request.cancelled.set()


class Stream(PendingRequest, Iterator[Chunk]):
    """A reply as it grows. Once it is cancelled, closed or dropped, the engine is free within one token."""

    _ended = False

    def __next__(self) -> Chunk:
        if self._ended:
            raise StopIteration
        try:
            event = self.wait()
        except MennyError:
            self._ended = True
            raise
        assert isinstance(event, Chunk)  # noqa: S101 - of GenerateWork
        self._ended = event.finish_reason is not None
        return event

    def close(self) -> None:
        """Cancel the reply, and yield no more of it."""
        self.cancel()
        self._ended = True
