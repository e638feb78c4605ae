"""From prompt ids to a stream of chunks: prefill, then decode, each a small step.

The next step is queued before the current token is read, so that the machine computes while Python turns a token into
text and hands it on.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.model import Mistral
from menny.engine.prefixes import Kept, Prefixes
from menny.engine.sampling import SamplingParams, make_sampler, penalise_repetition
from menny.engine.stops import StopFinder
from menny.errors import EngineError

FinishReason = Literal["stop", "length", "cancelled"]

PREFILL_CHUNK = 256  # tokens a pass: enough to keep matrix products busy, few enough to be cancelled soon
CLEAR_EVERY = 256  # decoded tokens after which MLX's pool of freed buffers is emptied
NOT_A_NUMBER = -1  # stands for a token where the logits weren't numbers


@dataclass(frozen=True)
class Chunk:
    """A piece of a reply, and how it goes so far. Speeds are tokens a second."""

    text: str
    token: int | None = None
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompt, those that needn't be computed
    completion_tokens: int = 0
    prompt_tps: float = 0.0  # of the tokens that were computed
    decode_tps: float = 0.0
    seconds_to_first_token: float = 0.0


class Decoder(Protocol):
    """Turns token ids into text as they come."""

    def add(self, token: int) -> str:
        """The text that this token completes."""

    def finish(self) -> str:
        """What was held back, at the end."""


class Vocabulary(Protocol):
    """What the tokens of a reply mean."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """The tokens that end a reply."""

    @property
    def vocab_size(self) -> int:
        """How many tokens there are; a model may have rows for more."""

    def decoder(self) -> Decoder:
        """A decoder of its own for one reply."""


def prefill(model: Mistral, tokens: mx.array, cache: Cache) -> Iterator[int]:
    """Put tokens [L] into the cache, chunk by chunk; yields how many are done after each."""
    for start in range(0, tokens.shape[0], PREFILL_CHUNK):
        chunk = tokens[start : start + PREFILL_CHUNK]
        model.read(chunk[None], cache)
        yield start + chunk.shape[0]


def decode(
    model: Mistral, last: mx.array, cache: Cache, params: SamplingParams, recent: Sequence[int], vocab_size: int
) -> Iterator[int]:
    """Endless tokens after `last` [1], the one token of the prompt that isn't in the cache yet.

    `recent` are the prompt's last tokens, for the repetition penalty; only the first `vocab_size` rows of the model's
    output are tokens. The caller stops asking.
    Raises EngineError when the logits are not numbers.
    """
    sampler = make_sampler(params)
    key = mx.random.key(int.from_bytes(os.urandom(8), "little") if params.seed is None else params.seed)
    penalised = params.repetition_penalty != 1 and params.repetition_context > 0
    window = mx.array(list(recent)[-params.repetition_context :], mx.int32) if penalised else None

    def step(token: mx.array) -> mx.array:
        nonlocal key, window
        logits = model(token[None], cache)[0][:, -1, :vocab_size]  # [1, V]
        finite = mx.isfinite(mx.logsumexp(logits, axis=-1))  # neither NaN nor infinity, nor all ruled out
        if window is not None:
            logits = penalise_repetition(logits, window[None], params.repetition_penalty)
        key, now = mx.random.split(key)
        chosen = mx.where(finite, sampler(logits, now).astype(mx.int32), NOT_A_NUMBER)
        if window is not None:
            window = mx.concatenate([window, chosen])[-params.repetition_context :]
        mx.async_eval(chosen, key)
        return chosen

    token = step(last)
    for count in range(1, 1 << 62):
        following = step(token)  # queued before `token` is read
        value = int(token.tolist()[0])  # type: ignore[index, arg-type]
        if value == NOT_A_NUMBER:
            raise EngineError("The model's numbers overflowed (NaN), so the reply ends here. Try another model file.")
        yield value
        token = following
        if count % CLEAR_EVERY == 0:
            mx.clear_cache()


def generate(
    model: Mistral,
    vocabulary: Vocabulary,
    prompt: Sequence[int],
    params: SamplingParams,
    on_prefill: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    prefixes: Prefixes | None = None,
) -> Iterator[Chunk]:
    """The reply to a prompt, as chunks. Only the last has a finish_reason; joined, their texts are the reply.

    `on_prefill` hears how many prompt tokens are done; `is_cancelled` is asked after each pass of the model. What
    `prefixes` holds of the prompt isn't computed again, and the reply's cache goes back to it unless the reply failed.
    """
    exactly = None if params.seed is None else PREFILL_CHUNK  # a seed's reply depends on nothing that ran before
    kept = prefixes.take(prompt, exactly) if prefixes else None
    cache = kept.cache if kept else model.make_cache()
    said: list[int] = []
    yield from _reply(model, vocabulary, prompt, params, on_prefill, is_cancelled, cache, said)
    if prefixes:
        whole = _whole_chunks(kept, min(cache.offset, len(prompt) - 1))
        prefixes.keep(Kept((*prompt, *said)[: cache.offset], cache, whole))


def _whole_chunks(kept: Kept | None, prefilled: int) -> int:
    """How many tokens whole chunks of prefill hold, from the start, after a prefill up to here."""
    if kept and (kept.prefilled < len(kept.tokens) or kept.prefilled % PREFILL_CHUNK):
        return kept.prefilled
    return prefilled - prefilled % PREFILL_CHUNK


def _reply(
    model: Mistral,
    vocabulary: Vocabulary,
    prompt: Sequence[int],
    params: SamplingParams,
    on_prefill: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    cache: Cache,
    said: list[int],
) -> Iterator[Chunk]:
    """The chunks of a reply to a prompt whose beginning is in the cache. The reply's tokens are added to `said`."""
    cached = cache.offset
    clock = _Clock(len(prompt), cached)
    tokens = mx.array(list(prompt), mx.int32)
    for done in prefill(model, tokens[cached:-1], cache):
        on_prefill(cached + done)
        if is_cancelled():
            yield Chunk("", finish_reason="cancelled", prompt_tokens=len(prompt), cached_tokens=cached)
            return
    stops, decoder = StopFinder(params.stop), vocabulary.decoder()
    for token in decode(model, tokens[-1:], cache, params, prompt, vocabulary.vocab_size):
        said.append(token)
        ends = token in vocabulary.eos_ids and not params.ignore_eos
        text = "" if ends else stops.add(decoder.add(token))
        reason: FinishReason | None = None
        if ends or stops.found:
            reason = "stop"
        elif len(said) == params.max_tokens:
            reason = "length"
        elif is_cancelled():
            reason = "cancelled"
        if reason:
            text += stops.add(decoder.finish()) + stops.finish()
            reason = "stop" if stops.found else reason
        yield clock.chunk(text, token, reason, len(said))
        if reason:
            return


class _Clock:
    """Measures a reply's speeds as it grows."""

    def __init__(self, prompt_tokens: int, cached_tokens: int) -> None:
        self._started = self._first_at = time.perf_counter()
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = cached_tokens

    def chunk(self, text: str, token: int, reason: FinishReason | None, count: int) -> Chunk:
        now = time.perf_counter()
        if count == 1:
            self._first_at = now
        waited = self._first_at - self._started
        return Chunk(
            text,
            token,
            reason,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            completion_tokens=count,
            prompt_tps=(self._prompt_tokens - self._cached_tokens) / waited,
            decode_tps=(count - 1) / (now - self._first_at) if count > 1 else 0.0,
            seconds_to_first_token=waited,
        )
