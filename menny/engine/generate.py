"""From prompt ids to a stream of chunks: prefill, then decode, each a small step."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.cache_files import CachedPrefix
from menny.engine.passes import PREFILL_CHUNK, Cancelled, Pass, next_step
from menny.engine.prefix_cache import Growing
from menny.engine.runtime import RequestControl, Runtime
from menny.engine.sampling import SamplingParams
from menny.engine.speculative import decoding_of
from menny.engine.stop_strings import StopFinder
from menny.engine_protocols import Chunk, FinishReason


async def prefill(tokens: mx.array, cache: Cache) -> AsyncGenerator[int]:
    """Put tokens [L] into the cache, chunk by chunk; yield the number that is done after each.

    Chunks end at multiples of their size, wherever the cache ended: so they are the same for all that begin alike.
    """
    count = tokens.shape[0]
    cache.reserve(count)
    done = 0
    while done < count:
        end = min(count, done + PREFILL_CHUNK - cache.offset % PREFILL_CHUNK)
        await Pass(tokens[None, done:end], cache, wants_logits=False)
        done = end
        yield done


async def generate(
    runtime: Runtime, prompt: Sequence[int], params: SamplingParams, control: RequestControl | None = None
) -> AsyncGenerator[Chunk]:
    """Yield the reply to a prompt. Only the last chunk has a finish_reason; joined, their texts are the reply.

    What the prefix cache holds of the prompt isn't computed again. The reply's cache goes back to it, unless the reply
    failed.
    """
    control, prefixes = control or RequestControl(), runtime.prefix_cache
    # The reply to a seed depends on nothing that ran before.
    only_whole = None if params.seed is None or runtime.model.is_exact else PREFILL_CHUNK
    try:
        await until_read(runtime, prompt, control, params.background, only_whole)
    except Cancelled:
        yield Chunk("", finish_reason="cancelled", prompt_tokens=len(prompt))
        return
    cached = prefixes.pop(prompt, only_whole, runtime.model.make_cache)
    cache = cached.cache if cached else runtime.model.make_cache()
    is_exact = cached is None or (cached.prefilled == len(cached.tokens) and cached.prefilled % PREFILL_CHUNK == 0)
    growing = Growing(prompt, cache, params.background, None if cached is None or is_exact else cached.prefilled)
    completion: list[int] = []
    prefixes.begin(growing)
    try:
        async for chunk in _reply(runtime, cache, prompt, params, control, completion):
            yield chunk
    finally:
        prefixes.end(growing)
    prefilled = min(cache.offset, len(prompt) - 1)
    whole = prefilled - prefilled % PREFILL_CHUNK if is_exact or cached is None else cached.prefilled
    tokens = (*prompt, *completion)[: cache.offset]
    prefixes.insert(CachedPrefix(tokens, cache, whole, may_be_filed=params.keep_cache))


async def until_read(
    runtime: Runtime,
    prompt: Sequence[int],
    control: RequestControl,
    is_background: bool = True,
    chunk: int | None = None,
) -> None:
    """Wait while another request computes a beginning of this prompt, so that it is computed once. Raises Cancelled."""
    while runtime.prefix_cache.is_coming(prompt, is_background, chunk):
        if control.is_cancelled():
            raise Cancelled
        await next_step()


async def _reply(
    runtime: Runtime,
    cache: Cache,
    prompt: Sequence[int],
    params: SamplingParams,
    control: RequestControl,
    completion: list[int],
) -> AsyncGenerator[Chunk]:
    """The chunks of a reply to a prompt whose beginning is in the cache. Its tokens are added to `completion`."""
    tokenizer, n_cached = runtime.tokenizer, cache.offset
    clock = _Clock(len(prompt), n_cached)
    decoding = decoding_of(runtime, cache, prompt, params)
    try:
        async for done in prefill(mx.array(list(prompt), mx.int32)[n_cached:-1], cache):
            control.on_prefill(n_cached + done)
            if control.is_cancelled():
                raise Cancelled
    except Cancelled:
        yield Chunk("", finish_reason="cancelled", prompt_tokens=len(prompt), cached_tokens=n_cached)
        return
    stops, decoder = StopFinder(params.stop), tokenizer.decoder()
    async with aclosing(decoding.tokens()) as tokens:
        async for token in tokens:
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
