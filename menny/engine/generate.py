"""From prompt ids to a stream of chunks: prefill, then decode, each a small step."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.decode import Decoding
from menny.engine.model import Mistral
from menny.engine.pass_costs import PassCosts
from menny.engine.prefix_cache import CachedPrefix, PrefixCache
from menny.engine.sampling import SamplingParams
from menny.engine.stop_strings import StopFinder
from menny.engine.tokenizers.tokenizer import Tokenizer
from menny.engine_protocols import Chunk, FinishReason

PREFILL_CHUNK = 256  # tokens a pass: enough to keep matrix products busy, few enough to be cancelled soon


def prefill(model: Mistral, tokens: mx.array, cache: Cache) -> Iterator[int]:
    """Put tokens [L] into the cache, chunk by chunk; yields how many are done after each."""
    cache.reserve(tokens.shape[0])
    for start in range(0, tokens.shape[0], PREFILL_CHUNK):
        chunk = tokens[start : start + PREFILL_CHUNK]
        model.prefill(chunk[None], cache)
        yield start + chunk.shape[0]


def generate(
    model: Mistral,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    params: SamplingParams,
    on_prefill: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    prefixes: PrefixCache | None = None,
    pace: PassCosts | None = None,
) -> Iterator[Chunk]:
    """The reply to a prompt, as chunks. Only the last has a finish_reason; joined, their texts are the reply.

    `on_prefill` hears how many prompt tokens are done; `is_cancelled` is asked after each pass of the model. What
    `prefixes` holds of the prompt isn't computed again, and the reply's cache goes back to it unless the reply failed.
    `pace` remembers from reply to reply what passes take.
    """
    exactly = None if params.seed is None else PREFILL_CHUNK  # a seed's reply depends on nothing that ran before
    kept = prefixes.pop(prompt, exactly) if prefixes else None
    cache = kept.cache if kept else model.make_cache()
    decoding = Decoding(model, cache, params, prompt, tokenizer.vocab_size, pace or PassCosts())
    said: list[int] = []
    yield from _reply(model, tokenizer, prompt, params, on_prefill, is_cancelled, cache, decoding, said)
    if prefixes:
        whole = _whole_chunks(kept, min(cache.offset, len(prompt) - 1))
        prefixes.insert(CachedPrefix((*prompt, *said)[: cache.offset], cache, whole))


def _whole_chunks(kept: CachedPrefix | None, prefilled: int) -> int:
    """How many tokens whole chunks of prefill hold, from the start, after a prefill up to here."""
    if kept and (kept.prefilled < len(kept.tokens) or kept.prefilled % PREFILL_CHUNK):
        return kept.prefilled
    return prefilled - prefilled % PREFILL_CHUNK


def _reply(
    model: Mistral,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    params: SamplingParams,
    on_prefill: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    cache: Cache,
    decoding: Decoding,
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
    stops, decoder = StopFinder(params.stop), tokenizer.decoder()
    with closing(decoding.tokens()) as decoded:
        for token in decoded:
            said.extend(() if token is None else (token,))
            ends = token in tokenizer.eos_ids and not params.ignore_eos
            text = "" if ends or token is None else stops.add(decoder.add(token))
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
            if reason or token is not None:
                yield clock.chunk(text, token, reason, len(said))
            if reason:
                return


class _Clock:
    """Measures a reply's speeds as it grows."""

    def __init__(self, prompt_tokens: int, cached_tokens: int) -> None:
        self._started = self._first_at = time.perf_counter()
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = cached_tokens

    def chunk(self, text: str, token: int | None, reason: FinishReason | None, count: int) -> Chunk:
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
