"""A pipeline: several machines each hold a stage of a model, and hidden states go from one to the next.

    rank 0: prompt → embeddings → blocks ─→ rank 1: blocks ─→ … ─→ last rank: blocks → norm → output ─┐
       └─ samples, decodes, prints ←───────────────────────── logits ─────────────────────────────────┘

Rank 0 alone reads prompts, samples and prints: there the pipeline looks like any other model (`Pipeline`). The other
ranks (`follow`) know nothing of replies; they carry out rank 0's orders, and hold their blocks' part of each of its
caches. So cancelling, sampling and reusing the last turn's cache need no counterpart there.
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
from menny.engine.distributed.setup import PlannedStage, build_together, plan_together, receive_request
from menny.engine.model import Mistral, Sequences
from menny.errors import EngineError, ModelError

TYPES = (mx.float32, mx.float16, mx.bfloat16)  # of hidden states and logits; sent by their place here
PAUSE = 0.25  # seconds between orders to an idle pipeline to rest
NAP = 0.2  # seconds of a rest without listening: MLX keeps a core busy while it waits
CLEAR_EVERY = 256  # passes after which MLX's pool of freed buffers is emptied

Find = Callable[[str], Path]


class SharedCache(Cache):
    """Rank 0's part of a cache. Its changes are repeated on the other machines' parts, which bear the same number."""

    def __init__(self, layers: Iterable[LayerCache], pipeline: "Pipeline") -> None:
        super().__init__(layers)
        self._pipeline = pipeline
        self.number = pipeline.next_number()

    def reserve(self, n_tokens: int) -> None:
        super().reserve(n_tokens)
        self._pipeline.order(Opcode.RESERVE, self.number, n_tokens)

    def trim(self, offset: int) -> None:
        if offset != self.offset:
            super().trim(offset)
            self._pipeline.order(Opcode.TRIM, self.number, offset)

    def prefix(self, offset: int) -> Cache:
        return self._copy(Opcode.PREFIX, super().prefix(offset), offset)

    def broadcast(self, rows: int) -> Cache:
        return self._copy(Opcode.BROADCAST, super().broadcast(rows), rows)

    def _copy(self, order: Opcode, layers: Cache, number: int) -> "SharedCache":
        copy = SharedCache(layers, self._pipeline)
        self._pipeline.order(order, self.number, copy.number, number)
        return copy

    def __del__(self) -> None:
        self._pipeline.forget(self.number)


class Pipeline(Mistral):
    """The whole model as rank 0 sees it: the first stage, whose output the other machines go on with."""

    def __init__(self, first: Mistral, stage_bytes: tuple[int, ...], ring: Ring) -> None:
        nn.Module.__init__(self)
        self.args, self.start = first.args, first.start
        self.tok_embeddings, self.layers = first.tok_embeddings, first.layers
        self._first = first
        self._ring = ring
        self._stage_bytes = stage_bytes
        self._n_caches = 0
        self._dropped: list[int] = []
        x = self.hidden(self.tok_embeddings(mx.zeros((1, 1), mx.int32)), first.make_cache())
        ring.order(Opcode.DESCRIBE, TYPES.index(x.dtype))
        self._type = TYPES[ring.next_order()[1][0]]  # of the logits

    def __call__(self, tokens: mx.array, cache: Cache | None = None) -> tuple[mx.array, Cache]:
        cache = self.make_cache() if cache is None else cache
        self._forward(Opcode.FORWARD, tokens, cache)
        return self._ring.receive((*tokens.shape, self.args.vocab_size), self._type), cache

    @property
    def shares_passes(self) -> bool:
        """False: the other machines know of one cache a pass."""
        return False

    def hidden_of(self, x: mx.array, sequences: Sequences) -> mx.array:
        """Compute the blocks of this machine, in the way that is fastest here."""
        return self._first.hidden_of(x, sequences)

    def prefill(self, tokens: mx.array, cache: Cache) -> None:
        self._forward(Opcode.PREFILL, tokens, cache)
        mx.eval(cache.state)

    def make_cache(self) -> SharedCache:
        return SharedCache(self._first.make_cache(), self)

    @property
    def stage_bytes(self) -> tuple[int, ...]:
        return self._stage_bytes

    def rest(self) -> None:
        """Let the other machines rest while there are no requests."""
        with suppress(RuntimeError):  # a machine that is gone is noticed at the next request
            self.order(Opcode.REST)

    def order(self, order: Opcode, *numbers: int) -> None:
        """Send an order to the other machines, after the numbers of caches that are gone."""
        while self._dropped:
            self._ring.order(Opcode.FORGET, self._dropped.pop())
        self._ring.order(order, *numbers)

    def next_number(self) -> int:
        """The number of a new cache."""
        self._n_caches += 1
        return self._n_caches

    def forget(self, number: int) -> None:
        """Drop a cache on all machines, with the next order: this may be called at any moment."""
        self._dropped.append(number)

    def _forward(self, order: Opcode, tokens: mx.array, cache: Cache) -> None:
        assert isinstance(cache, SharedCache)  # noqa: S101 - of make_cache
        x = self.hidden(self.tok_embeddings(tokens), cache)
        self.order(order, cache.number, *tokens.shape, TYPES.index(x.dtype))
        self._ring.send(x)


class Follower:
    """Any other rank: carries out rank 0's orders."""

    def __init__(self, ring: Ring, find: Find) -> None:
        self._ring = ring
        self._find = find
        self._model: Mistral  # set by the first order, LOAD
        self._caches: dict[int, Cache] = {}
        self._n_forwards = 0

    def run(self) -> int:
        """Carry out orders until the last; returns the exit code that rank 0 sends with it."""
        while True:
            order, numbers = self._ring.next_order()
            match order:
                case Opcode.LOAD:
                    self._load(numbers)
                case Opcode.DESCRIBE:
                    self._describe(order, numbers)
                case Opcode.PREFILL | Opcode.FORWARD:
                    self._forward(order, numbers)
                case Opcode.REST:
                    self._pass_on(order, numbers)
                    time.sleep(NAP)
                case Opcode.END:
                    return numbers[0]
                case _:
                    self._pass_on(order, numbers)
                    self._change_cache(order, numbers)

    def _load(self, numbers: list[int]) -> None:
        """Load this machine's stage of a model; rank 0 gets the error, if there is one, and ends."""
        request = receive_request(self._ring, numbers[0])
        vars(self).pop("_model", None)
        self._caches.clear()
        gc.collect()
        with suppress(ModelError):
            self._model, _ = build_together(self._ring, plan_together(self._ring, request, self._find))

    def _describe(self, order: Opcode, numbers: list[int]) -> None:
        x = mx.zeros((1, 1, self._model.args.dim), TYPES[numbers[0]])
        x = self._model.hidden(x, self._model.make_cache())
        self._ring.order(order, TYPES.index((self._model.logits(x) if self._ring.is_last else x).dtype))

    def _forward(self, order: Opcode, numbers: list[int]) -> None:
        number, rows, tokens, kind, *_ = numbers
        cache = self._cache(number)
        x = self._ring.receive((rows, tokens, self._model.args.dim), TYPES[kind])
        x = self._model.hidden(x, cache)
        if not self._ring.is_last:
            self._ring.order(order, number, rows, tokens, TYPES.index(x.dtype))
            self._ring.send(x)
        elif order is Opcode.FORWARD:
            self._ring.send(self._model.logits(x))
        mx.async_eval(cache.state)
        self._n_forwards += order is Opcode.FORWARD
        if self._n_forwards % CLEAR_EVERY == 0:
            mx.clear_cache()

    def _change_cache(self, order: Opcode, numbers: list[int]) -> None:
        """Repeat a change of rank 0's part of a cache on this machine's part."""
        match order, numbers:
            case Opcode.PREFIX, [number, copy, offset, *_]:
                self._caches[copy] = self._cache(number).prefix(offset)
            case Opcode.BROADCAST, [number, copy, rows, *_]:
                self._caches[copy] = self._cache(number).broadcast(rows)
            case Opcode.TRIM, [number, offset, *_]:
                self._cache(number).trim(offset)
            case Opcode.RESERVE, [number, n_tokens, *_]:
                self._cache(number).reserve(n_tokens)
            case Opcode.FORGET, [number, *_]:
                self._caches.pop(number, None)

    def _cache(self, number: int) -> Cache:
        """This machine's part of a cache, made when it is first named."""
        return self._caches.setdefault(number, self._model.make_cache())

    def _pass_on(self, order: Opcode, numbers: list[int]) -> None:
        if not self._ring.is_last:
            self._ring.order(order, *numbers)


def follow(ring: Ring, find: Find) -> int:
    """Carry out rank 0's orders until the last; returns the exit code that it sends.

    `find` returns the path of a model on this machine. Raises PipelineError when rank 0 is gone.
    """
    try:
        return Follower(ring, find).run()
    except RuntimeError as error:
        raise lost(error) or EngineError(f"Rank {ring.rank} failed ({error}).") from error


def load_pipeline(ring: Ring, planned: PlannedStage) -> Pipeline:
    """Load the stages that all machines have planned. Raises ModelError."""
    ring.speaker = threading.current_thread()
    return Pipeline(*build_together(ring, planned), ring)
