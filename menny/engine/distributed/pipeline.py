"""One model on several machines: each holds a stage of it, and hidden states go from one to the next.

    rank 0: prompt → embeddings → blocks ─→ rank 1: blocks ─→ … ─→ last rank: blocks → norm → output ─┐
       └─ samples, decodes, prints ←───────────────────────── logits ─────────────────────────────────┘

Rank 0 alone reads prompts, samples and prints: there the whole looks like any other model (`Pipeline`). The others
(`follow`) know nothing of replies; they compute what rank 0 orders, and hold their blocks' share of every cache that it
has. So whatever goes on there, as cancelling, sampling or reusing the last turn's cache, needs no second half here.
"""

import gc
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from menny.engine.cache import Cache, LayerCache
from menny.engine.distributed.ring import Opcode, Ring, lost
from menny.engine.distributed.setup import PlannedStage, build_together, plan_together, receive_asked
from menny.engine.model import Mistral
from menny.errors import EngineError, ModelError

TYPES = (mx.float32, mx.float16, mx.bfloat16)  # of hidden states and logits; sent by their place here
PAUSE = 0.25  # seconds after which an idle pipeline is told to rest, again and again
NAP = 0.2  # seconds that it then doesn't listen: MLX keeps a core busy while it waits
CLEAR_EVERY = 256  # answers after which MLX's pool of freed buffers is emptied

Find = Callable[[str], Path]


class SharedCache(Cache):
    """Rank 0's share of a cache. What is done to it, the others do to theirs, which they know by its number."""

    def __init__(self, layers: Iterable[LayerCache], pipeline: "Pipeline") -> None:
        super().__init__(layers)
        self._pipeline = pipeline
        self.number = pipeline.next_number()

    def reserve(self, n_tokens: int) -> None:
        super().reserve(n_tokens)
        self._pipeline.order(Opcode.EXPECT, self.number, n_tokens)

    def trim(self, offset: int) -> None:
        if offset != self.offset:
            super().trim(offset)
            self._pipeline.order(Opcode.REWIND, self.number, offset)

    def prefix(self, offset: int) -> Cache:
        return self._copied(Opcode.UNTIL, super().prefix(offset), offset)

    def broadcast(self, rows: int) -> Cache:
        return self._copied(Opcode.REPEAT, super().broadcast(rows), rows)

    def _copied(self, order: Opcode, layers: Cache, number: int) -> "SharedCache":
        copy = SharedCache(layers, self._pipeline)
        self._pipeline.order(order, self.number, copy.number, number)
        return copy

    def __del__(self) -> None:
        self._pipeline.forget(self.number)


class Pipeline(Mistral):
    """The whole model as rank 0 sees it: the first stage, which lets the others go on with its result."""

    def __init__(self, first: Mistral, stage_bytes: tuple[int, ...], ring: Ring) -> None:
        nn.Module.__init__(self)
        self.args, self.start = first.args, first.start
        self.tok_embeddings, self.layers = first.tok_embeddings, first.layers
        self._ring = ring
        self._stage_bytes = stage_bytes
        self._made = 0  # caches
        self._forgotten: list[int] = []
        x = self.hidden(self.tok_embeddings(mx.zeros((1, 1), mx.int32)), super().make_cache())
        ring.order(Opcode.DESCRIBE, TYPES.index(x.dtype))
        self._type = TYPES[ring.next_order()[1][0]]  # of the logits

    def __call__(self, tokens: mx.array, cache: Cache | None = None) -> tuple[mx.array, Cache]:
        cache = self.make_cache() if cache is None else cache
        self._forward(Opcode.ANSWER, tokens, cache)
        return self._ring.receive((*tokens.shape, self.args.vocab_size), self._type), cache

    def prefill(self, tokens: mx.array, cache: Cache) -> None:
        self._forward(Opcode.READ, tokens, cache)
        mx.eval(cache.state)

    def make_cache(self) -> SharedCache:
        return SharedCache(super().make_cache(), self)

    @property
    def stage_bytes(self) -> tuple[int, ...]:
        return self._stage_bytes

    def rest(self) -> None:
        """Nothing has been asked for a while."""
        with suppress(RuntimeError):  # a machine that has gone is missed when something is
            self.order(Opcode.REST)

    def order(self, order: Opcode, *numbers: int) -> None:
        """Tell the others, and first which caches are no longer needed."""
        while self._forgotten:
            self._ring.order(Opcode.FORGET, self._forgotten.pop())
        self._ring.order(order, *numbers)

    def next_number(self) -> int:
        """A new cache's."""
        self._made += 1
        return self._made

    def forget(self, number: int) -> None:
        """A cache has gone; told with the next order, as this may be called at any moment."""
        self._forgotten.append(number)

    def _forward(self, order: Opcode, tokens: mx.array, cache: Cache) -> None:
        assert isinstance(cache, SharedCache)  # noqa: S101 - of make_cache
        x = self.hidden(self.tok_embeddings(tokens), cache)
        self.order(order, cache.number, *tokens.shape, TYPES.index(x.dtype))
        self._ring.send(x)


class Follower:
    """Any other rank: does what rank 0 orders."""

    def __init__(self, ring: Ring, find: Find) -> None:
        self._ring = ring
        self._find = find
        self._model: Mistral  # rank 0 orders nothing of it before it has one
        self._caches: dict[int, Cache] = {}
        self._answers = 0

    def run(self) -> int:
        """Follow until the end; returns the exit code that rank 0 tells."""
        while True:
            order, numbers = self._ring.next_order()
            match order:
                case Opcode.LOAD:
                    self._load(numbers)
                case Opcode.DESCRIBE:
                    self._describe(order, numbers)
                case Opcode.READ | Opcode.ANSWER:
                    self._forward(order, numbers)
                case Opcode.REST:
                    self._pass_on(order, numbers)
                    time.sleep(NAP)
                case Opcode.END:
                    return numbers[0]
                case _:
                    self._pass_on(order, numbers)
                    self._keep(order, numbers)

    def _load(self, numbers: list[int]) -> None:
        """Load this machine's stage of a model; what goes wrong, rank 0 hears, tells and ends."""
        asked = receive_asked(self._ring, numbers[0])
        vars(self).pop("_model", None)
        self._caches.clear()
        gc.collect()
        with suppress(ModelError):
            self._model, _ = build_together(self._ring, plan_together(self._ring, asked, self._find))

    def _describe(self, order: Opcode, numbers: list[int]) -> None:
        x = mx.zeros((1, 1, self._model.args.dim), TYPES[numbers[0]])
        x = self._model.hidden(x, self._model.make_cache())
        self._ring.order(order, TYPES.index((self._model.logits(x) if self._ring.is_last else x).dtype))

    def _forward(self, order: Opcode, numbers: list[int]) -> None:
        number, rows, tokens, kind = numbers
        cache = self._cache(number)
        x = self._ring.receive((rows, tokens, self._model.args.dim), TYPES[kind])
        x = self._model.hidden(x, cache)
        if not self._ring.is_last:
            self._ring.order(order, number, rows, tokens, TYPES.index(x.dtype))
            self._ring.send(x)
        elif order is Opcode.ANSWER:
            self._ring.send(self._model.logits(x))
        mx.async_eval(cache.state)
        self._answers += order is Opcode.ANSWER
        if self._answers % CLEAR_EVERY == 0:
            mx.clear_cache()

    def _keep(self, order: Opcode, numbers: list[int]) -> None:
        """Do to this machine's share of a cache what rank 0 has done to its own."""
        match order, numbers:
            case Opcode.UNTIL, [number, copy, offset, *_]:
                self._caches[copy] = self._cache(number).prefix(offset)
            case Opcode.REPEAT, [number, copy, rows, *_]:
                self._caches[copy] = self._cache(number).broadcast(rows)
            case Opcode.REWIND, [number, offset, *_]:
                self._cache(number).trim(offset)
            case Opcode.EXPECT, [number, n_tokens, *_]:
                self._cache(number).reserve(n_tokens)
            case Opcode.FORGET, [number, *_]:
                self._caches.pop(number, None)

    def _cache(self, number: int) -> Cache:
        """This machine's share of a cache, which is made when it is first spoken of."""
        return self._caches.setdefault(number, self._model.make_cache())

    def _pass_on(self, order: Opcode, numbers: list[int]) -> None:
        if not self._ring.is_last:
            self._ring.order(order, *numbers)


def follow(ring: Ring, find: Find) -> int:
    """Do what rank 0 orders until it ends; returns the exit code that it tells.

    `find` tells where a model lies on this machine. Raises PipelineError when rank 0 is gone.
    """
    try:
        return Follower(ring, find).run()
    except RuntimeError as error:
        raise lost(error) or EngineError(f"Rank {ring.rank} could not go on ({error}).") from error


def load_pipeline(ring: Ring, planned: PlannedStage) -> Pipeline:
    """Load what all machines have planned. Raises ModelError."""
    ring.speaker = threading.current_thread()
    return Pipeline(*build_together(ring, planned), ring)
