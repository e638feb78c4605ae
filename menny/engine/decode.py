"""Decoding: one token after the other, the next pass queued before the last token is read.

So the machine computes while Python turns a token into text. Replies that may use drafts are decoded by
`SpeculativeDecoding` (speculative.py), which builds on this.

Legend of shapes: L tokens, V vocabulary.
"""

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.runtime import Runtime
from menny.engine.sampling import SamplingParams, make_sampler, penalise_repetition
from menny.errors import EngineError

CLEAR_EVERY = 256  # passes after which MLX's pool of freed buffers is emptied
NOT_A_NUMBER = -1  # stands for a token where the logits weren't numbers

Tokens = Generator[int | None, None, None]


@dataclass(frozen=True)
class Sampled:
    """A token that was sampled, perhaps not computed yet, and the state that the next one is sampled from."""

    token: mx.array  # [1]
    key: mx.array  # of the next draw
    recent: mx.array | None = None  # the last tokens, where repetition is penalised
    near_ties: mx.array | None = None  # [1], see SpeculativeDecoding


class Decoding:
    """The tokens after a prompt of which all but the last are in the cache."""

    def __init__(self, runtime: Runtime, cache: Cache, prompt: Sequence[int], params: SamplingParams) -> None:
        self._model = runtime.model
        self._vocab_size = runtime.vocab_size
        self._costs = runtime.pass_costs
        self._cache = cache
        self._prompt = prompt
        self._params = params
        self._sampler = make_sampler(params)
        self._count = len(prompt)  # tokens of the prompt, and those that were handed on
        self._passes = 0

    def tokens(self) -> Tokens:
        """Yield tokens without end, and None after a pass that brought none.

        When closed, the cache holds no more tokens than were handed on. Raises EngineError for logits that aren't
        numbers.
        """
        try:
            before = self._before_the_first()
            yield from self._decode(before, self._sample(self._forward(mx.array([self._prompt[-1]])), before))
        finally:
            self._cache.trim(min(self._cache.offset, self._count))

    def _decode(self, before: Sampled, sampled: Sampled) -> Tokens:  # noqa: ARG002 - for drafts
        """Pipelined decoding, from a token that was sampled after `before`."""
        read_at: float | None = None
        while True:
            queued = self._sample(self._forward(sampled.token), sampled)
            token = self._read(sampled)
            read_at = self._observe_step(read_at)
            yield token
            sampled = queued

    def _observe_step(self, read_at: float | None) -> float:
        """Measure a pipelined pass from the last token's reading to this one's; returns the time now."""
        now = time.perf_counter()
        if read_at is not None:
            self._costs.observe(1, now - read_at)
        return now

    def _forward(self, tokens: mx.array) -> mx.array:
        """Put tokens [L] into the cache; their logits [L, V]."""
        self._passes += 1
        if self._passes % CLEAR_EVERY == 0:
            mx.clear_cache()
        return self._model(tokens[None], self._cache)[0][0, :, : self._vocab_size]

    def _before_the_first(self) -> Sampled:
        """The state that the first token is sampled from."""
        seed = int.from_bytes(os.urandom(8), "little") if self._params.seed is None else self._params.seed
        context = self._params.repetition_context
        is_penalised = self._params.repetition_penalty != 1 and context > 0
        recent = mx.array(list(self._prompt)[-context:], mx.int32) if is_penalised else None
        return Sampled(mx.array([0]), mx.random.key(seed), recent)

    def _sample(self, logits: mx.array, before: Sampled, place: int = 0) -> Sampled:
        """The token that follows a place of logits [L, V]; its computation is queued."""
        row = logits[place : place + 1]
        finite = mx.isfinite(mx.logsumexp(row, axis=-1))  # neither NaN nor infinity, nor all ruled out
        recent = before.recent
        if recent is not None:
            row = penalise_repetition(row, recent[None], self._params.repetition_penalty)
        next_key, key = mx.random.split(before.key)
        token = mx.where(finite, self._sampler(row, key).astype(mx.int32), NOT_A_NUMBER)
        if recent is not None:
            recent = mx.concatenate([recent, token])[-self._params.repetition_context :]
        near_ties = self._count_near_ties(row)
        mx.async_eval(token, next_key, *([] if near_ties is None else [near_ties]))
        return Sampled(token, next_key, recent, near_ties)

    def _count_near_ties(self, logits: mx.array) -> mx.array | None:  # noqa: ARG002 - for drafts
        return None

    def _read(self, sampled: Sampled) -> int:
        """The token, to be handed on; waits where it isn't computed yet."""
        token = as_int(sampled.token)
        if token == NOT_A_NUMBER:
            raise EngineError("The model's numbers overflowed (NaN), so the reply ends here. Try another model file.")
        self._count += 1
        return token


def as_int(array: mx.array) -> int:
    """The only number of an array; waits where it isn't computed yet."""
    return int(array.item())  # type: ignore[arg-type]
