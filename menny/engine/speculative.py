"""Speculative decoding: where the text repeats itself, several tokens are verified in one pass.

A pass over the last token and a draft (see prompt_lookup.py) gives the logits of each place, and the token that is
sampled there. The draft is right up to the first place where another token was sampled, so drafts don't change a
reply, be it greedy or drawn. But a product of several rows rounds otherwise than one of a single row: a greedy token
that is as likely as another to the last digits is computed again by passes of one token.

Legend of shapes: L tokens, V vocabulary.
"""

import time
from collections.abc import AsyncGenerator, Sequence

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.decode import Decoding, Sampled, Tokens, as_int
from menny.engine.prompt_lookup import Lookup
from menny.engine.runtime import Runtime
from menny.engine.sampling import SamplingParams

NEAR_TIE = 2e-6  # of the largest logit: the difference that float32's rounding may make


def decoding_of(runtime: Runtime, cache: Cache, prompt: Sequence[int], params: SamplingParams) -> Decoding:
    """The decoding of a reply: with drafts where they are wanted and can't change it."""
    keeps_seed = params.seed is None or _is_exact(runtime, params)
    can_trim = cache.fits_without_eviction(len(prompt) + params.max_tokens)
    kind = SpeculativeDecoding if params.lookup and keeps_seed and can_trim else Decoding
    return kind(runtime, cache, prompt, params)


def _is_exact(runtime: Runtime, params: SamplingParams) -> bool:
    """True if a reply must be the same to the last token as without drafts: a greedy one in float32."""
    return params.temperature == 0 and runtime.model.layers[0].attention_norm.weight.dtype == mx.float32


class SpeculativeDecoding(Decoding):
    """Pipelined decoding that verifies a draft whenever one is worth its pass."""

    def __init__(self, runtime: Runtime, cache: Cache, prompt: Sequence[int], params: SamplingParams) -> None:
        super().__init__(runtime, cache, prompt, params)
        self._lookup = Lookup(prompt)
        self._is_exact = _is_exact(runtime, params) and not runtime.model.is_exact
        self._before: Sampled  # the token before the last one
        self._sampled: Sampled  # the last one, which isn't handed on yet
        self._trusted = 0  # tokens in the cache when the first draft was verified; 0: there was none

    async def _decode(self, before: Sampled, sampled: Sampled) -> Tokens:
        self._before, self._sampled = before, sampled
        read_at: float | None = None
        while True:
            queued = None if self._draft() else self._sample(await self._forward(self._sampled.token), self._sampled)
            if self._is_uncertain(self._sampled):
                async for token in self._start_again():
                    yield token
            token = self._read(self._sampled)
            if queued is None:
                async for verified in self._verify(token):
                    yield verified
                read_at = None
                continue
            read_at = self._observe_step(read_at)
            yield token
            self._before, self._sampled = self._sampled, queued

    async def _verify(self, token: int) -> AsyncGenerator[int]:
        """Hand on a token and the draft's tokens after it that are right; the last sample isn't handed on yet."""
        draft = self._draft()  # with the token itself it may be another one, or none
        if draft and not self._trusted:
            self._trusted = self._cache.offset
        began = time.perf_counter()
        logits = await self._forward(mx.array([[token, *draft]]))
        mx.async_eval(logits)
        yield token
        self._before, self._sampled = self._sampled, self._sample(logits, self._sampled)
        if draft and not self._costs.others:
            mx.eval(self._sampled.token)
            self._costs.observe(len(draft) + 1, time.perf_counter() - began)
        for place, drafted in enumerate(draft, start=1):
            if self._is_uncertain(self._sampled) or as_int(self._sampled.token) != drafted:
                break
            yield self._read(self._sampled)
            self._before, self._sampled = self._sampled, self._sample(logits, self._sampled, place)
        self._cache.trim(self._count)

    def _draft(self) -> list[int]:
        completed = self._count - len(self._prompt)
        return self._lookup.draft(self._costs.cost, self._params.max_tokens - completed - 1)

    def _read(self, sampled: Sampled) -> int:
        token = super()._read(sampled)
        self._lookup.add(token)
        return token

    # Exactness

    def _count_near_ties(self, logits: mx.array, place: int) -> mx.array | None:
        """The number of tokens as likely as the likeliest, itself included, to the last digits [1].

        None where it doesn't matter: kernels that compute a token alike in any company leave no other rounding.
        """
        if not self._is_exact:
            return None
        logits = logits[0, place : place + 1, : self._vocab_size]
        nearly = mx.max(logits, axis=-1) - NEAR_TIE * mx.max(mx.abs(logits), axis=-1)
        return mx.sum(logits >= nearly, axis=-1)

    def _is_uncertain(self, sampled: Sampled) -> bool:
        """True if the other rounding of earlier drafts could have led to another token."""
        return self._trusted > 0 and sampled.near_ties is not None and as_int(sampled.near_ties) > 1

    async def _start_again(self) -> Tokens:
        """Go on without drafts, from a cache that is computed as if there had been none.

        That takes the time that the drafts saved.
        """
        tokens = self._lookup.tokens
        self._cache.trim(self._trusted)
        for token in tokens[self._trusted : -1]:
            mx.eval(await self._forward(mx.array([[token]])))
            yield None
        sampled = self._sample(await self._forward(mx.array([tokens[-1:]])), self._before)
        async for following in super()._decode(self._before, sampled):
            yield following
