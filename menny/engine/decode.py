"""Decoding: one token after the other, the next pass queued before the last token is read.

So the machine computes while Python turns a token into text. Replies that may use drafts are decoded by
`SpeculativeDecoding` (speculative.py), which builds on this.

Legend of shapes: L tokens, V vocabulary.
"""

import os
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from menny.engine import sampling
from menny.engine.cache import Cache
from menny.engine.cpu import sampling as sampling_on_cpu
from menny.engine.passes import Pass
from menny.engine.runtime import Runtime
from menny.engine.sampling import NOT_A_NUMBER, SamplingParams, key_at
from menny.errors import EngineError

Tokens = AsyncGenerator[int | None]


@dataclass(frozen=True)
class Sampled:
    """A token that was sampled, perhaps not computed yet, and the state that the next one is sampled from."""

    token: mx.array  # [1, 1]
    position: int
    recent: mx.array | None = None  # the last tokens, where repetition is penalised
    near_ties: mx.array | None = None  # [1], see SpeculativeDecoding


class Decoding:
    """The tokens after a prompt of which all but the last are in the cache."""

    def __init__(self, runtime: Runtime, cache: Cache, prompt: Sequence[int], params: SamplingParams) -> None:
        self._vocab_size = runtime.vocab_size
        self._costs = runtime.pass_costs
        self._cache = cache
        self._prompt = prompt
        self._params = params
        self._on_device = sampling_on_cpu if mx.default_device().type == mx.DeviceType.cpu else sampling
        self._sampler = self._on_device.make_sampler(params, runtime.vocab_size)
        self._count = len(prompt)  # tokens of the prompt, and those that were handed on
        self._seed = int.from_bytes(os.urandom(8), "little") if params.seed is None else params.seed

    async def tokens(self) -> Tokens:
        """Yield tokens without end, and None after a pass that brought none.

        When closed, the cache holds no more tokens than were handed on. Raises EngineError for logits that aren't
        numbers.
        """
        try:
            before = self._before_the_first()
            first = self._sample(await self._forward(mx.array([[self._prompt[-1]]])), before)
            async for token in self._decode(before, first):
                yield token
        finally:
            self._cache.trim(min(self._cache.offset, self._count))

    async def _decode(self, before: Sampled, sampled: Sampled) -> Tokens:  # noqa: ARG002 - for drafts
        """Pipelined decoding, from a token that was sampled after `before`."""
        read_at: float | None = None
        while True:
            queued = self._sample(await self._forward(sampled.token), sampled)
            token = self._read(sampled)
            read_at = self._observe_step(read_at)
            yield token
            sampled = queued

    def _observe_step(self, read_at: float | None) -> float | None:
        """Measure a pipelined pass from the last token's reading to this one's; returns the time now.

        A pass that others share tells nothing of one alone.
        """
        now = time.perf_counter()
        if self._costs.others:
            return None
        if read_at is not None:
            self._costs.observe(1, now - read_at)
        return now

    async def _forward(self, tokens: mx.array) -> mx.array:
        """Put tokens [1, L] into the cache; their logits [1, L, V], which may be padded beyond the vocabulary."""
        logits = await Pass(tokens, self._cache)
        assert logits is not None  # noqa: S101
        return logits

    def _before_the_first(self) -> Sampled:
        """The state that the first token is sampled from."""
        context = self._params.repetition_context
        is_penalised = self._params.repetition_penalty != 1 and context > 0
        recent = mx.array(list(self._prompt)[-context:], mx.int32) if is_penalised else None
        return Sampled(mx.array([[0]]), len(self._prompt) - 1, recent)

    def _sample(self, logits: mx.array, before: Sampled, place: int = 0) -> Sampled:
        """The token that follows a place of logits [1, L, V]; its computation is queued."""
        recent = before.recent
        if recent is not None:
            logits = self._on_device.penalise_repetition(logits, place, recent, self._params.repetition_penalty)
            place = 0
        position = before.position + 1
        token = self._sampler(logits, place, key_at(self._seed, position))
        if recent is not None:
            recent = self._on_device.followed_by(recent, token, self._params.repetition_context)
        near_ties = self._count_near_ties(logits, place)
        mx.async_eval(token, *([] if near_ties is None else [near_ties]))
        return Sampled(token, position, recent, near_ties)

    def _count_near_ties(self, logits: mx.array, place: int) -> mx.array | None:  # noqa: ARG002 - for drafts
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
