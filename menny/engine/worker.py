"""The engine thread: it alone loads, evaluates and generates; requests go in, chunks come out through a queue.

MLX's unevaluated arrays, random state and streams belong to the thread that made them, while a web server answers each
session from another one. So one long-lived thread does all the computing, and serves requests in their order.
"""

import atexit
import gc
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import mlx.core as mx

from menny.engine.blas import Threads
from menny.engine.generate import Chunk, generate
from menny.engine.model import Mistral
from menny.engine.prefixes import Prefixes, default_limit
from menny.engine.sampling import SamplingParams
from menny.engine.tokenizer import Tokenizer, load_tokenizer
from menny.engine.weights import load_model
from menny.errors import EngineError, MennyError, ModelError, PromptTooLongError

log = logging.getLogger(__name__)

HEARTBEAT = 0.2  # seconds after which a silent stream reports its progress again
SPARE_ROWS = 512  # by which a model's vocabulary may be padded beyond its tokenizer's


@dataclass(frozen=True)
class Progress:
    """What a silent stream is doing: waiting (`total` requests are ahead), or `done` of `total` prompt tokens."""

    phase: Literal["waiting", "prefill"]
    done: int
    total: int


OnProgress = Callable[[Progress], None]


@dataclass(eq=False)
class _Request:
    """What passes between a consumer's thread and the engine's."""

    prompt: list[int]
    params: SamplingParams
    progress: Progress | None = None  # None: not begun
    events: "queue.SimpleQueue[Chunk | MennyError]" = field(default_factory=queue.SimpleQueue)
    cancelled: threading.Event = field(default_factory=threading.Event)


class Stream(Iterator[Chunk]):
    """One reply as it grows. Cancel it, close it, or let go of it, and its place is free within one token."""

    def __init__(self, engine: "Engine", request: _Request, on_progress: OnProgress | None) -> None:
        self._engine = engine
        self._request = request
        self._on_progress = on_progress
        self._ended = False

    def __next__(self) -> Chunk:
        if self._ended:
            raise StopIteration
        event = self._wait()
        self._ended = isinstance(event, MennyError) or event.finish_reason is not None
        if isinstance(event, MennyError):
            raise event
        return event

    def _wait(self) -> Chunk | MennyError:
        while True:
            try:
                return self._request.events.get(timeout=HEARTBEAT)
            except queue.Empty:
                self._report()

    def _report(self) -> None:
        progress = self._request.progress or Progress("waiting", 0, self._engine.requests_ahead(self._request))
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress)
        except BaseException:  # the consumer was stopped within its own callback
            self.cancel()
            raise

    def cancel(self) -> None:
        """End the reply; a last chunk says "cancelled". Callable from any thread."""
        self._request.cancelled.set()
        self._engine.withdraw(self._request)

    def close(self) -> None:
        """Cancel, and read no more."""
        self.cancel()
        self._ended = True

    def __del__(self) -> None:
        self._request.cancelled.set()


class Engine:
    """A model and its tokenizer, served by a thread of their own. Close it, or use it as a context manager."""

    def __init__(self, path: Path, prefix_bytes: int | None = None) -> None:
        self.name = path.stem if path.suffix == ".gguf" else path.name
        self.tokenizer: Tokenizer
        self.context_length: int  # tokens, of prompt and reply together
        self._lock = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._serving: _Request | None = None
        self._closed = False
        self._threads = Threads()
        self._prefixes = Prefixes(default_limit() if prefix_bytes is None else prefix_bytes)
        self._loaded: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(path,), name=f"engine {self.name}", daemon=True)
        self._thread.start()
        failure = self._loaded.get()
        if failure:
            self._thread.join()
            try:
                raise failure
            finally:
                del failure  # with its traceback it would keep what was loaded
        atexit.register(self.close)

    def stream(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams | None = None,
        on_progress: OnProgress | None = None,
    ) -> Stream:
        """The reply to a prompt, as an iterator of chunks.

        `on_progress` is called in the consumer's thread, some times a second, while the stream is silent. A reply ends
        where the context does. Raises PromptTooLongError, or EngineError for ids that aren't the model's.
        """
        prompt = [int(token) for token in prompt_ids]
        room = self.context_length - len(prompt)
        if not prompt:
            raise EngineError("The prompt is empty: there is nothing to reply to.")
        if room < 1:
            raise PromptTooLongError(
                f"The prompt has {len(prompt)} tokens, but the model's context holds {self.context_length}: "
                f"shorten it by {1 - room} or more.",
                tokens=len(prompt),
                limit=self.context_length - 1,
            )
        vocab_size = self.tokenizer.vocab_size
        if not all(0 <= token < vocab_size for token in prompt):
            raise EngineError(f"The prompt has a token id outside the model's vocabulary of {vocab_size}.")
        params = params or SamplingParams()
        request = _Request(prompt, replace(params, max_tokens=min(params.max_tokens, room)))
        with self._lock:
            if self._closed:
                raise EngineError(f"The model {self.name} was unloaded: choose a model again.")
            self._waiting.append(request)
            self._lock.notify()
        return Stream(self, request, on_progress)

    def requests_ahead(self, request: _Request) -> int:
        """How many requests will be served before this one."""
        with self._lock:
            place = self._waiting.index(request) if request in self._waiting else 0
            return place + (self._serving is not None and self._serving is not request)

    def withdraw(self, request: _Request) -> None:
        """Take a cancelled request out of the line; one that is being served ends by itself."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)
                request.events.put(_cancelled(request))

    def close(self) -> None:
        """Cancel every reply, end the thread, and free the model's memory."""
        with self._lock:
            self._closed = True
            for request in self._waiting:
                request.events.put(_cancelled(request))
            self._waiting.clear()
            if self._serving:
                self._serving.cancelled.set()
            self._lock.notify()
        self._thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, path: Path) -> None:
        """The thread's life: load, serve, and let go of the memory."""
        try:
            try:
                model = self._load(path)
            except BaseException as error:  # told to the thread that asked for the engine
                self._loaded.put(error)
                return
            self._loaded.put(None)
            while request := self._next_request():
                self._serve(model, request)
            del model
        finally:
            self._prefixes.clear()
            gc.collect()
            mx.synchronize()
            mx.clear_cache()
            mx.clear_streams()  # MLX asks every thread to, or the process may abort at its end

    def _load(self, path: Path) -> Mistral:
        if mx.metal.is_available():
            limit = mx.device_info()["max_recommended_working_set_size"]
            mx.set_wired_limit(int(limit))  # weights stay resident, so that no token waits for them
        self.tokenizer = load_tokenizer(path)
        model = load_model(path)
        ours, theirs = self.tokenizer.vocab_size, model.args.vocab_size
        if not ours <= theirs <= ours + SPARE_ROWS:
            raise ModelError(
                f"{path}: the model has a vocabulary of {theirs} tokens, but its tokenizer one of {ours}: "
                "they don't belong together"
            )
        self.context_length = model.args.max_position_embeddings
        return model

    def _next_request(self) -> _Request | None:
        """The next in line; None once the engine is closed."""
        with self._lock:
            self._serving = None
            self._lock.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._serving = self._waiting.popleft()
            return self._serving

    def _serve(self, model: Mistral, request: _Request) -> None:
        """Put the reply's chunks into the request's queue; whatever fails ends this reply only."""
        if request.cancelled.is_set():  # let go of before its turn
            request.events.put(_cancelled(request))
            return
        total = len(request.prompt)
        request.progress = Progress("prefill", 0, total)

        def on_prefill(done: int) -> None:
            request.progress = Progress("prefill", done, total)

        try:
            chunks = generate(
                model,
                self.tokenizer,
                request.prompt,
                request.params,
                on_prefill,
                request.cancelled.is_set,
                self._prefixes,
            )
            for seconds, chunk in _timed(chunks):
                request.events.put(chunk)
                if request.params.seed is not None:
                    continue  # another number of threads changes the last digits, and with them a seed's reply
                if seconds is None:
                    self._threads.begin()
                else:
                    self._threads.observe(seconds)
        except MennyError as error:
            request.events.put(error.with_traceback(None))  # which would keep the cache and the model
        except Exception as error:
            log.exception("The engine failed")
            request.events.put(EngineError(f"The engine could not go on with the reply ({error}). Try once more."))
        finally:
            self._threads.end()


def _timed(chunks: Iterator[Chunk]) -> Iterator[tuple[float | None, Chunk]]:
    """Each chunk with the seconds since the one before; None for the first, whose time is the prefill's too."""
    began: float | None = None
    for chunk in chunks:
        now = time.perf_counter()
        yield None if began is None else now - began, chunk
        began = now


def _cancelled(request: _Request) -> Chunk:
    return Chunk("", finish_reason="cancelled", prompt_tokens=len(request.prompt))


def load_engine(path: str | Path, *, prefix_bytes: int | None = None) -> Engine:
    """Load a model folder or .gguf file, with its tokenizer, on a thread of its own. Raises ModelError.

    Caches of recent conversations are kept for their next turns in up to `prefix_bytes`; 0: none are kept.
    """
    return Engine(Path(os.path.expanduser(path)), prefix_bytes)
