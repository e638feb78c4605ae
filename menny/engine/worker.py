"""The engine's thread: it alone loads, evaluates and generates; requests go in, chunks come out through a queue.

MLX's unevaluated arrays, random state and streams belong to the thread that made them, while a web server answers each
session from another one. So one long-lived thread does all the computing. Requests take a row of its scheduler each, in
their order, and wait where all rows are taken.
"""

import atexit
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Self

import mlx.core as mx

from menny.engine.cache_files import CacheFolder, files_of
from menny.engine.cpu.kernels import keep_compiled
from menny.engine.distributed.pipeline import PAUSE, Pipeline
from menny.engine.distributed.ring import lost
from menny.engine.generate import generate
from menny.engine.memory import release_memory, return_compiler, return_freed_memory
from menny.engine.memory_plan import Plan
from menny.engine.model import Mistral
from menny.engine.passes import Cancelled
from menny.engine.prefix_cache import PrefixCache
from menny.engine.requests import (
    GenerateWork,
    PendingRequest,
    Request,
    ScoreWork,
    Stream,
    check_vocabulary,
    checked_prompt,
)
from menny.engine.runtime import RequestControl, Runtime
from menny.engine.sampling import SamplingParams
from menny.engine.scheduler import Row, Scheduler
from menny.engine.scoring import score
from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.engine_protocols import Chunk, OnProgress, Progress, Score
from menny.errors import EngineError, MennyError, ModelError

log = logging.getLogger(__name__)

Build = Callable[[], Mistral]
Prepare = Callable[[], tuple[Plan, Build]]  # reads headers only; the second reads the weights

PARALLEL = 8  # requests at once, by default
BREATH = 1.0  # seconds without a request, after which freed memory is returned to the system
QUIET = 20.0  # seconds without one, after which caches are written to files
SPARE_ROWS = 512  # the padding that a model's vocabulary may have beyond its tokenizer's


class Engine:
    """A model and its tokenizer, served by a thread of their own. Close it, or use it as a context manager."""

    def __init__(
        self,
        path: Path,
        prepare: Prepare,
        prefix_bytes: int | None,
        parallel: int = PARALLEL,
        cache_folder: CacheFolder | None = None,
    ) -> None:
        self.name = path.stem if path.suffix == ".gguf" else path.name
        self.tokenizer: Tokenizer
        self.context_length: int  # tokens, of prompt and reply together
        self.leaves_out_vision: bool  # the model had a vision tower, which isn't loaded
        self.stage_bytes: tuple[int, ...]  # the weights, on each machine that holds a stage of the model
        self._lock = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._parallel = parallel
        self._free_rows = parallel  # for requests that wait
        self._serving: list[Request] = []
        self._closed = False
        self._is_stranded = False  # another machine is gone, and MLX waits for it without end
        self._prefix_cache = PrefixCache(0)
        self._prefix_bytes = prefix_bytes  # None: what the plan leaves
        self._cache_folder = cache_folder
        self._forgets = False
        self._was_busy = False  # since freed memory was returned
        self._loaded: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(path, prepare), name=f"engine {self.name}", daemon=True)
        try:
            self._thread.start()
            atexit.register(self.close)
            failure = self._wait_until_loaded()
        except BaseException:  # interrupted: the thread ends when it has loaded
            self._closed = True
            raise
        if failure:
            self._thread.join()
            atexit.unregister(self.close)
            try:
                raise failure
            finally:
                del failure  # with its traceback it would keep what was loaded

    def _wait_until_loaded(self) -> BaseException | None:
        """Wait until the model is loaded; returns the error that kept it from being.

        Each wait is short: a Ctrl-C that comes just before one is only noticed after it.
        """
        while True:
            with suppress(queue.Empty):
                return self._loaded.get(timeout=0.5)

    def stream(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams | None = None,
        on_progress: OnProgress | None = None,
    ) -> Stream:
        """Return the reply to a prompt, as an iterator of chunks.

        `on_progress` is called in the consumer's thread, some times a second, while the stream is silent. A reply ends
        where the context does. Raises PromptTooLongError, or EngineError for ids that aren't the model's.
        """
        params = params or SamplingParams()
        prompt, room = checked_prompt(prompt_ids, 1, self.context_length)
        check_vocabulary(prompt, self.tokenizer.vocab_size)
        request = Request(prompt, GenerateWork(replace(params, max_tokens=min(params.max_tokens, room))))
        self._enqueue(request)
        return Stream(self, request, on_progress)

    can_score = True

    def score(
        self,
        prompt_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        shared: int = 0,
        on_progress: OnProgress | None = None,
    ) -> list[Score]:
        """Compute the likelihood of each continuation of a prompt, in their order.

        Prompts that are scored one after the other with the same first `shared` tokens compute these once.
        `on_progress` is called as for a stream; by raising, it ends the work. Raises PromptTooLongError, or EngineError
        for ids that aren't the model's and for a continuation without a token.
        """
        rows = [[int(token) for token in continuation] for continuation in continuations]
        if not rows or not all(rows):
            raise EngineError("There is nothing to score: every continuation needs at least one token.")
        prompt, _ = checked_prompt(prompt_ids, max(map(len, rows)), self.context_length)
        check_vocabulary(chain(prompt, *rows), self.tokenizer.vocab_size)
        request = Request(prompt, ScoreWork(rows, shared))
        self._enqueue(request)
        event = PendingRequest(self, request, on_progress).wait()
        if isinstance(event, Chunk):  # closed meanwhile
            raise self._closed_error()
        return event

    def _enqueue(self, request: Request) -> None:
        with self._lock:
            if self._closed:
                raise self._closed_error()
            self._waiting.append(request)
            self._lock.notify()

    def _closed_error(self) -> EngineError:
        return EngineError(f"The model {self.name} was unloaded: choose a model again.")

    def requests_ahead(self, request: Request) -> int:
        """The number of requests that must end before this one can begin; 0: it is about to."""
        with self._lock:
            if request not in self._waiting:
                return 0
            return max(0, self._in_order().index(request) + 1 - self._free_rows)

    def withdraw(self, request: Request) -> None:
        """Remove a cancelled request from the queue; one that is being served ends by itself."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)
                request.end_cancelled()

    def forget_caches(self) -> None:
        """Drop the caches of all conversations, and their files; those of replies under way are kept."""
        with self._lock:
            self._forgets = True
            self._lock.notify()

    def close(self) -> None:
        """Cancel every reply, end the thread, and free the model's memory."""
        with self._lock:
            self._closed = True
            for request in self._waiting:
                request.end_cancelled()
            self._waiting.clear()
            for request in self._serving:
                request.cancelled.set()
            self._lock.notify()
        self._thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, path: Path, prepare: Prepare) -> None:
        """The thread's life: load, serve requests, and release the memory."""
        try:
            try:
                plan, model = self._load(path, prepare)
            except BaseException as error:  # raised in the thread that asked for the engine
                self._loaded.put(error)
                return
            runtime = Runtime(model, self.tokenizer, self._prefix_cache)
            scheduler = Scheduler(runtime, self._parallel, plan.caches)
            return_compiler()
            self._loaded.put(None)
            is_settled = False
            while self._admit(runtime, scheduler, plan):
                scheduler.step()
                if not is_settled and not scheduler.rows:  # the first request had further kernels read
                    is_settled = True
                    keep_compiled()
                    return_compiler()
            self._prefix_cache.file_all()
            del runtime, scheduler, model
        finally:
            self._end_all()
            self._prefix_cache.clear()
            if not self._is_stranded:
                release_memory()

    def _end_all(self) -> None:
        """End what still waits, if the thread ends by an error: nobody serves it any more."""
        with self._lock:
            self._closed = True
            for request in (*self._waiting, *self._serving):
                request.events.put(self._closed_error())

    def _load(self, path: Path, prepare: Prepare) -> tuple[Plan, Mistral]:
        if mx.metal.is_available():
            limit = mx.device_info()["max_recommended_working_set_size"]
            mx.set_wired_limit(int(limit))  # the weights stay resident, so that no token waits for them
        plan, build = prepare()
        self.context_length = plan.context
        self.tokenizer = load_tokenizer(path)
        model = build()
        ours, theirs = self.tokenizer.vocab_size, model.args.vocab_size
        if not ours <= theirs <= ours + SPARE_ROWS:
            raise ModelError(
                f"{path}: the model has a vocabulary of {theirs} tokens, but its tokenizer one of {ours}: "
                "they don't belong together"
            )
        folder = None if isinstance(model, Pipeline) else self._cache_folder
        limit = plan.kept if self._prefix_bytes is None else self._prefix_bytes
        self._prefix_cache = PrefixCache(limit, files_of(folder, path))
        self.stage_bytes = model.stage_bytes
        self.leaves_out_vision = model.leaves_out_vision
        return plan, model

    def _admit(self, runtime: Runtime, scheduler: Scheduler, plan: Plan) -> bool:
        """Give free rows to requests that wait, and wait while there are none; False once the engine is closed."""
        with self._lock:
            self._serving = [row.request for row in scheduler.rows]
            self._forget()
            while not self._serving and not self._has_work():
                self._rest(runtime)
                self._forget()
            while self._waiting:
                request = self._in_order()[0]
                needed = plan.cache_of(request.most_tokens)
                if not scheduler.has_room(needed):
                    self._free_rows = 0  # even if only memory lacks
                    break
                self._waiting.remove(request)
                scheduler.add(Row(request, self._serve(runtime, request), needed))
                self._serving.append(request)
            else:
                self._free_rows = scheduler.free_rows
            self._was_busy = True
            return bool(self._serving)

    def _rest(self, runtime: Runtime) -> None:
        """Wait for work, with the lock held; meanwhile return memory, and see to other machines, or to files."""

        def is_due() -> bool:
            return self._has_work() or self._forgets

        if isinstance(runtime.model, Pipeline):
            if not self._lock.wait_for(is_due, PAUSE):
                runtime.model.rest()
        elif not self._lock.wait_for(is_due, BREATH if self._was_busy else QUIET if self._cache_folder else None):
            self._lock.release()
            try:
                if self._was_busy:
                    self._was_busy = False
                    return_freed_memory()
                else:
                    self._prefix_cache.file_all(is_due)
            finally:
                self._lock.acquire()

    def _forget(self) -> None:
        """Drop the caches that are kept, if that was asked for."""
        if self._forgets:
            self._forgets, self._was_busy = False, True
            self._prefix_cache.forget()

    def _in_order(self) -> list[Request]:
        """The requests that wait, those that are watched first."""
        return sorted(self._waiting, key=lambda request: request.is_background)

    def _has_work(self) -> bool:
        return bool(self._waiting) or self._closed

    async def _serve(self, runtime: Runtime, request: Request) -> None:
        """Put the results of a request into its queue; an error ends this request only."""
        total = len(request.prompt)
        request.progress = Progress("prefill", 0, total)

        def on_prefill(done: int) -> None:
            request.progress = Progress("prefill", done, total)

        control = RequestControl(on_prefill, request.cancelled.is_set)
        try:
            if request.cancelled.is_set():  # before its turn
                raise Cancelled
            match request.work:
                case GenerateWork(params):
                    async for chunk in generate(runtime, request.prompt, params, control):
                        request.events.put(chunk)
                case ScoreWork(continuations, shared):
                    request.events.put(await score(runtime, request.prompt, continuations, shared, control))
        except Cancelled:
            request.end_cancelled()
        except MennyError as error:
            request.events.put(error.with_traceback(None))  # which would keep the cache and the model
        except Exception as error:
            gone = lost(error)
            self._is_stranded = gone is not None
            request.events.put(gone or _unexpected(error))


def _unexpected(error: Exception) -> EngineError:
    log.exception("The engine failed")
    return EngineError(f"The engine failed ({error}). Try again.")
