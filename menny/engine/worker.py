"""The engine thread: it alone loads, evaluates and generates; requests go in, chunks come out through a queue.

MLX's unevaluated arrays, random state and streams belong to the thread that made them, while a web server answers each
session from another one. So one long-lived thread does all the computing, and serves requests in their order.
"""

import atexit
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import index
from pathlib import Path
from typing import Self

import mlx.core as mx

from menny.engine.checkpoints.load import load_model
from menny.engine.distributed.pipeline import PAUSE, Pipeline, load_pipeline
from menny.engine.distributed.ring import lost
from menny.engine.distributed.setup import Shared
from menny.engine.generate import generate
from menny.engine.memory import release_memory
from menny.engine.memory_plan import Plan, plan_for
from menny.engine.model import Mistral
from menny.engine.pass_costs import PassCosts
from menny.engine.prefix_cache import PrefixCache, default_limit
from menny.engine.requests import GenerateWork, PendingRequest, Request, ScoreWork, Stream
from menny.engine.sampling import SamplingParams
from menny.engine.scoring import score
from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.engine_protocols import Chunk, OnProgress, Progress, Score
from menny.errors import EngineError, MennyError, ModelError, PromptTooLongError

log = logging.getLogger(__name__)

SPARE_ROWS = 512  # by which a model's vocabulary may be padded beyond its tokenizer's


class Engine:
    """A model and its tokenizer, served by a thread of their own. Close it, or use it as a context manager."""

    def __init__(self, path: Path, plan: Plan, prefix_bytes: int, load: Callable[[], Mistral]) -> None:
        self.name = path.stem if path.suffix == ".gguf" else path.name
        self.tokenizer: Tokenizer
        self.context_length = plan.context  # tokens, of prompt and reply together
        self.stage_bytes: tuple[int, ...]  # of the weights, on each machine that holds a stage of the model
        self._lock = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._serving: Request | None = None
        self._closed = False
        self._is_stranded = False  # another machine is gone, and MLX waits for it without end
        self._pace = PassCosts()
        self._prefixes = PrefixCache(prefix_bytes)
        self._loaded: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(path, load), name=f"engine {self.name}", daemon=True)
        try:
            self._thread.start()
            atexit.register(self.close)
            failure = self._heard()
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

    def _heard(self) -> BaseException | None:
        """How loading went. A Ctrl-C that comes just before a wait is heard of after it, so none is long."""
        while True:
            with suppress(queue.Empty):
                return self._loaded.get(timeout=0.5)

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
        params = params or SamplingParams()
        prompt, room = self._checked(prompt_ids, reserved=1)
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
        """How likely the model finds each continuation of a prompt, in their order; waits until it is known.

        Prompts that are scored one after the other with the same first `shared` tokens compute these once.
        `on_progress` is called as for a stream; by raising, it ends the work. Raises PromptTooLongError, or EngineError
        for ids that aren't the model's and for a continuation without a token.
        """
        rows = [[int(token) for token in continuation] for continuation in continuations]
        if not rows or not all(rows):
            raise EngineError("There is nothing to score: every continuation needs a token at least.")
        prompt, _ = self._checked(prompt_ids, reserved=max(map(len, rows)))
        self._check_vocabulary(token for row in rows for token in row)
        request = Request(prompt, ScoreWork(rows, shared))
        self._enqueue(request)
        event = PendingRequest(self, request, on_progress).wait()
        if isinstance(event, Chunk):  # closed meanwhile
            raise EngineError(self._unloaded)
        return event

    def _checked(self, prompt_ids: Sequence[int], reserved: int) -> tuple[list[int], int]:
        """A prompt that can be read, and how many tokens the context leaves after it: `reserved` or more."""
        try:
            prompt = [index(token) for token in prompt_ids]
        except TypeError as error:
            raise EngineError("The prompt is no list of token ids: put a text through the tokenizer first.") from error
        room = self.context_length - len(prompt)
        if not prompt:
            raise EngineError("The prompt is empty: there is nothing to reply to.")
        if room < reserved:
            raise PromptTooLongError(
                f"The prompt has {len(prompt)} tokens, but the model's context holds {self.context_length}: "
                f"shorten it by {reserved - room} or more.",
                tokens=len(prompt),
                limit=self.context_length - reserved,
            )
        self._check_vocabulary(prompt)
        return prompt, room

    def _check_vocabulary(self, tokens: Iterable[int]) -> None:
        vocab_size = self.tokenizer.vocab_size
        if not all(0 <= token < vocab_size for token in tokens):
            raise EngineError(f"The prompt has a token id outside the model's vocabulary of {vocab_size}.")

    def _enqueue(self, request: Request) -> None:
        with self._lock:
            if self._closed:
                raise EngineError(self._unloaded)
            self._waiting.append(request)
            self._lock.notify()

    @property
    def _unloaded(self) -> str:
        return f"The model {self.name} was unloaded: choose a model again."

    def requests_ahead(self, request: Request) -> int:
        """How many requests will be served before this one."""
        with self._lock:
            place = self._waiting.index(request) if request in self._waiting else 0
            return place + (self._serving is not None and self._serving is not request)

    def withdraw(self, request: Request) -> None:
        """Take a cancelled request out of the line; one that is being served ends by itself."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)
                request.end_cancelled()

    def close(self) -> None:
        """Cancel every reply, end the thread, and free the model's memory."""
        with self._lock:
            self._closed = True
            for request in self._waiting:
                request.end_cancelled()
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

    def _run(self, path: Path, load: Callable[[], Mistral]) -> None:
        """The thread's life: load, serve, and let go of the memory."""
        try:
            try:
                model = self._load(path, load)
            except BaseException as error:  # told to the thread that asked for the engine
                self._loaded.put(error)
                return
            self._loaded.put(None)
            while request := self._next_request(model):
                self._serve(model, request)
            del model
        finally:
            self._prefixes.clear()
            if not self._is_stranded:
                release_memory()

    def _load(self, path: Path, load: Callable[[], Mistral]) -> Mistral:
        if mx.metal.is_available():
            limit = mx.device_info()["max_recommended_working_set_size"]
            mx.set_wired_limit(int(limit))  # weights stay resident, so that no token waits for them
        self.tokenizer = load_tokenizer(path)
        model = load()
        ours, theirs = self.tokenizer.vocab_size, model.args.vocab_size
        if not ours <= theirs <= ours + SPARE_ROWS:
            raise ModelError(
                f"{path}: the model has a vocabulary of {theirs} tokens, but its tokenizer one of {ours}: "
                "they don't belong together"
            )
        self.stage_bytes = model.stage_bytes
        return model

    def _next_request(self, model: Mistral) -> Request | None:
        """The next in line; None once the engine is closed."""
        with self._lock:
            self._serving = None
            if isinstance(model, Pipeline):
                while not self._lock.wait_for(self._has_work, PAUSE):
                    model.rest()
            self._lock.wait_for(self._has_work)
            if self._closed:
                return None
            self._serving = self._waiting.popleft()
            return self._serving

    def _has_work(self) -> bool:
        return bool(self._waiting) or self._closed

    def _serve(self, model: Mistral, request: Request) -> None:
        """Put what is asked for into the request's queue; whatever fails ends this request only."""
        if request.cancelled.is_set():  # let go of before its turn
            request.end_cancelled()
            return
        total = len(request.prompt)
        request.progress = Progress("prefill", 0, total)

        def on_prefill(done: int) -> None:
            request.progress = Progress("prefill", done, total)

        try:
            match request.work:
                case GenerateWork(params):
                    self._answer(model, request, params, on_prefill)
                case ScoreWork() as work:
                    self._score(model, request, work, on_prefill)
        except MennyError as error:
            request.events.put(error.with_traceback(None))  # which would keep the cache and the model
        except Exception as error:
            gone = lost(error)
            self._is_stranded = gone is not None
            request.events.put(gone or _unforeseen(error))

    def _answer(
        self, model: Mistral, request: Request, params: SamplingParams, on_prefill: Callable[[int], None]
    ) -> None:
        is_cancelled = request.cancelled.is_set
        chunks = generate(
            model, self.tokenizer, request.prompt, params, on_prefill, is_cancelled, self._prefixes, self._pace
        )
        for chunk in chunks:
            request.events.put(chunk)

    def _score(self, model: Mistral, request: Request, work: ScoreWork, on_prefill: Callable[[int], None]) -> None:
        scores = score(
            model,
            request.prompt,
            work.continuations,
            self.tokenizer.vocab_size,
            on_prefill,
            request.cancelled.is_set,
            self._prefixes,
            work.shared,
        )
        if scores is None:
            request.end_cancelled()
        else:
            request.events.put(scores)


def _unforeseen(error: Exception) -> EngineError:
    log.exception("The engine failed")
    return EngineError(f"The engine could not go on with it ({error}). Try once more.")


def load_engine(
    path: str | Path,
    *,
    context_length: int | None = None,
    force: bool = False,
    prefix_bytes: int | None = None,
    shared: Shared | None = None,
    threads: int | None = None,
) -> Engine:
    """Load a model folder or .gguf file, with its tokenizer, on a thread of its own. Raises ModelError.

    Prompt and reply together may have `context_length` tokens; if it is left out, as many as fit into memory. What
    doesn't fit raises TooLargeError before a weight is read, unless `force` is set.
    Caches of recent conversations are kept for their next turns in up to `prefix_bytes`; 0: none are kept.
    `shared` tells that other machines hold their part of the model. On a CPU as many `threads` multiply as there are
    physical cores, unless they are given.
    """
    path = Path(os.path.expanduser(path))
    load: Callable[[], Mistral]
    if shared:
        stage = shared.plan(path, context_length, force)
        plan, load = stage.plan, partial(load_pipeline, shared.ring, stage)
    else:
        plan, load = plan_for(path, context_length, force), partial(load_model, path, threads=threads)
    return Engine(path, plan, plan.spare(default_limit()) if prefix_bytes is None else prefix_bytes, load)
