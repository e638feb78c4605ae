"""From prompt ids to a stream of chunks: prefill, then decode, each a small step."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.model import Mistral
from menny.engine.prefix_cache import CachedPrefix
from menny.engine.runtime import RequestControl, Runtime
from menny.engine.sampling import SamplingParams
from menny.engine.speculative import decoding_of
from menny.engine.stop_strings import StopFinder
from menny.engine_protocols import Chunk, FinishReason

PREFILL_CHUNK = 256  # tokens a pass: enough to keep matrix products busy, few enough to be cancelled soon


def prefill(model: Mistral, tokens: mx.array, cache: Cache) -> Iterator[int]:
    """Put tokens [L] into the cache, chunk by chunk; yield the number that is done after each."""
    cache.reserve(tokens.shape[0])
    for start in range(0, tokens.shape[0], PREFILL_CHUNK):
        chunk = tokens[start : start + PREFILL_CHUNK]
        model.prefill(chunk[None], cache)
        yield start + chunk.shape[0]


def generate(
    runtime: Runtime, prompt: Sequence[int], params: SamplingParams, control: RequestControl | None = None
) -> Iterator[Chunk]:
    """Yield the reply to a prompt. Only the last chunk has a finish_reason; joined, their texts are the reply.

    What the prefix cache holds of the prompt isn't computed again. The reply's cache goes back to it, unless the reply
    failed.
    """
    only_whole = None if params.seed is None else PREFILL_CHUNK  # a seed's reply depends on nothing that ran before
    cached = runtime.prefix_cache.pop(prompt, only_whole)
    cache = cached.cache if cached else runtime.model.make_cache()
    completion: list[int] = []
    yield from _reply(runtime, cache, prompt, params, control or RequestControl(), completion)
    whole = _whole_chunks(cached, min(cache.offset, len(prompt) - 1))
    runtime.prefix_cache.insert(CachedPrefix((*prompt, *completion)[: cache.offset], cache, whole))


def _whole_chunks(cached: CachedPrefix | None, prefilled: int) -> int:
    """The number of tokens, from the start, that a prefill up to here has computed in whole chunks."""
    if cached and (cached.prefilled < len(cached.tokens) or cached.prefilled % PREFILL_CHUNK):
        return cached.prefilled
    return prefilled - prefilled % PREFILL_CHUNK


def _reply(
    runtime: Runtime,
    cache: Cache,
    prompt: Sequence[int],
    params: SamplingParams,
    control: RequestControl,
    completion: list[int],
) -> Iterator[Chunk]:
    """The chunks of a reply to a prompt whose beginning is in the cache. Its tokens are added to `completion`."""
    tokenizer, n_cached = runtime.tokenizer, cache.offset
    clock = _Clock(len(prompt), n_cached)
    decoding = decoding_of(runtime, cache, prompt, params)
    for done in prefill(runtime.model, mx.array(list(prompt), mx.int32)[n_cached:-1], cache):
        control.on_prefill(n_cached + done)
        if control.is_cancelled():
            yield Chunk("", finish_reason="cancelled", prompt_tokens=len(prompt), cached_tokens=n_cached)
            return
    stops, decoder = StopFinder(params.stop), tokenizer.decoder()
    with closing(decoding.tokens()) as tokens:
        for token in tokens:
            completion.extend(() if token is None else (token,))
            is_eos = token in tokenizer.eos_ids and not params.ignore_eos
            text = "" if is_eos or token is None else stops.add(decoder.add(token))
            if token in tokenizer.control_ids:  # no stop string goes across one, such as the end of a thought
                text += stops.finish()
            reason: FinishReason | None = None
            if is_eos or stops.found:
                reason = "stop"
            elif len(completion) == params.max_tokens:
                reason = "length"
            elif control.is_cancelled():
                reason = "cancelled"
            if reason:
                text += stops.add(decoder.finish()) + stops.finish()
                reason = "stop" if stops.found else reason
            if reason or token is not None:
                yield clock.chunk(text, token, reason, len(completion))
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
