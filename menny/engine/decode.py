"""Decoding: one token after the other, and where the text repeats itself, several verified in one pass.

The next pass is queued before the last token is handed on, so that the machine computes while Python turns a token into
text. Where a draft is at hand (see lookup.py), the token is read first, and a pass over it and the draft says for each
place what it draws there: the draft is right up to the first place where it isn't what was drawn. So drafts change no
reply, be it greedy or drawn; but the products of several rows round otherwise than those of one. Greedy tokens that
this could turn, being as likely as another one to the last digits, are computed anew by passes of one token.

Legend of shapes: L tokens, V vocabulary.
"""

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.model import Mistral
from menny.engine.pass_costs import PassCosts
from menny.engine.prompt_lookup import Lookup
from menny.engine.sampling import SamplingParams, make_sampler, penalise_repetition
from menny.errors import EngineError

CLEAR_EVERY = 256  # passes after which MLX's pool of freed buffers is emptied
NOT_A_NUMBER = -1  # stands for a token where the logits weren't numbers
CLOSE = 2e-6  # of the largest logit: what float32's rounding may turn

Tokens = Generator[int | None, None, None]


@dataclass(frozen=True)
class _Drawn:
    """A token that was drawn but needn't be computed yet, and what the next draw depends on."""

    token: mx.array  # [1]
    rivals: mx.array | None  # [1], greedy tokens' only: how many were as likely to the last digits, itself included
    key: mx.array
    recent: mx.array | None  # the last tokens, where repetition is penalised


class Decoding:
    """The tokens after a prompt of which all but the last are in the cache."""

    def __init__(
        self,
        model: Mistral,
        cache: Cache,
        params: SamplingParams,
        prompt: Sequence[int],
        vocab_size: int,
        pace: PassCosts,
    ) -> None:
        """Only the first `vocab_size` rows of the model's output are tokens."""
        self._model = model
        self._cache = cache
        self._params = params
        self._vocab_size = vocab_size
        self._pace = pace
        self._sampler = make_sampler(params)
        self._prompt = prompt
        self._is_exact = params.temperature == 0 and model.layers[0].attention_norm.weight.dtype == mx.float32
        keeps_a_seed = params.seed is None or self._is_exact
        can_undo = cache.fits_without_eviction(len(prompt) + params.max_tokens)
        self._may_draft = params.lookup and keeps_a_seed and can_undo
        self._lookup = Lookup(prompt)
        self._passes = 0
        self._undrafted = 0  # tokens in the cache when the first draft was verified; 0: there was none

    def tokens(self) -> Tokens:
        """Endless tokens; None: still at it. When closed, the cache holds no more than was handed on.

        Raises EngineError when the logits are not numbers.
        """
        try:
            yield from self._tokens()
        finally:
            self._cache.trim(min(self._cache.offset, len(self._lookup.tokens)))

    def _tokens(self) -> Tokens:
        before = self._nothing()
        drawn = self._draw(self._pass(mx.array([self._prompt[-1]])), 0, before)
        read_at: float | None = None  # the last token, where this one was queued then
        while True:
            queued = None if self._draft() else self._draw(self._pass(drawn.token), 0, drawn)
            if self._is_close(drawn):
                drawn, queued = (yield from self._draw_again(before)), None
            value = self._read(drawn)
            if queued is None:
                before, drawn = yield from self._verify(value, drawn)
                read_at = None
                continue
            now = time.perf_counter()
            if read_at is not None:
                self._pace.observe(1, now - read_at)
            read_at = now
            yield value
            before, drawn = drawn, queued

    def _verify(self, value: int, drawn: _Drawn) -> Generator[int | None, None, tuple[_Drawn, _Drawn]]:
        """Hand on the token that was read, and those of its draft that come true; returns the last two drawn.

        The last of them isn't handed on yet. Without a draft it is the only one.
        """
        draft = self._draft()
        if draft and not self._undrafted:
            self._undrafted = self._cache.offset
        began = time.perf_counter()
        logits = self._pass(mx.array([value, *draft]))
        mx.async_eval(logits)
        yield value
        before, drawn = drawn, self._draw(logits, 0, drawn)
        if draft:
            mx.eval(drawn.token)
            self._pace.observe(len(draft) + 1, time.perf_counter() - began)
        for place, drafted in enumerate(draft, start=1):
            if self._is_close(drawn) or _number(drawn.token) != drafted:
                break
            yield self._read(drawn)
            before, drawn = drawn, self._draw(logits, place, drawn)
        self._cache.trim(len(self._lookup.tokens))
        return before, drawn

    def _draw_again(self, before: _Drawn) -> Generator[None, None, _Drawn]:
        """What is drawn after the tokens so far where they are computed as if there had been no drafts.

        That takes the time that the drafts saved, so there will be none any more.
        """
        tokens = self._lookup.tokens
        self._cache.trim(self._undrafted)
        for token in tokens[self._undrafted : -1]:
            mx.eval(self._pass(mx.array([token])))
            yield None
        self._may_draft, self._undrafted = False, 0
        return self._draw(self._pass(mx.array(tokens[-1:])), 0, before)

    def _draft(self) -> list[int]:
        if not self._may_draft:
            return []
        said = len(self._lookup.tokens) - len(self._prompt)
        return self._lookup.draft(self._pace.cost, self._params.max_tokens - said - 1)

    def _pass(self, tokens: mx.array) -> mx.array:
        """Put tokens [L] into the cache; their logits [L, V]."""
        self._passes += 1
        if self._passes % CLEAR_EVERY == 0:
            mx.clear_cache()
        return self._model(tokens[None], self._cache)[0][0, :, : self._vocab_size]

    def _nothing(self) -> _Drawn:
        """What the first draw depends on."""
        seed = int.from_bytes(os.urandom(8), "little") if self._params.seed is None else self._params.seed
        context = self._params.repetition_context
        penalised = self._params.repetition_penalty != 1 and context > 0
        recent = mx.array(list(self._prompt)[-context:], mx.int32) if penalised else None
        return _Drawn(mx.array([0]), None, mx.random.key(seed), recent)

    def _draw(self, logits: mx.array, place: int, before: _Drawn) -> _Drawn:
        """The token that follows a place of logits [L, V]."""
        row = logits[place : place + 1]
        finite = mx.isfinite(mx.logsumexp(row, axis=-1))  # neither NaN nor infinity, nor all ruled out
        if before.recent is not None:
            row = penalise_repetition(row, before.recent[None], self._params.repetition_penalty)
        key, now = mx.random.split(before.key)
        token = mx.where(finite, self._sampler(row, now).astype(mx.int32), NOT_A_NUMBER)
        recent = before.recent
        if recent is not None:
            recent = mx.concatenate([recent, token])[-self._params.repetition_context :]
        rivals = _rivals(row) if self._is_exact and self._may_draft else None
        mx.async_eval(token, key, *([] if rivals is None else [rivals]))
        return _Drawn(token, rivals, key, recent)

    def _is_close(self, drawn: _Drawn) -> bool:
        """Could the other rounding of earlier drafts have turned this token?"""
        return self._undrafted > 0 and drawn.rivals is not None and _number(drawn.rivals) > 1

    def _read(self, drawn: _Drawn) -> int:
        """The token, waited for where it isn't computed yet."""
        value = _number(drawn.token)
        if value == NOT_A_NUMBER:
            raise EngineError("The model's numbers overflowed (NaN), so the reply ends here. Try another model file.")
        self._lookup.add(value)
        return value


def _rivals(logits: mx.array) -> mx.array:
    """How many of the tokens are as likely as the likeliest to the last digits, itself included: [1, V] → [1]."""
    nearly = mx.max(logits, axis=-1) - CLOSE * mx.max(mx.abs(logits), axis=-1)
    return mx.sum(logits >= nearly, axis=-1)


def _number(array: mx.array) -> int:
    """The one number of an array, waited for where it isn't computed yet."""
    return int(array.item())  # type: ignore[arg-type]
