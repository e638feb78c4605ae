"""Scoring: the likelihood of each of several continuations of a prompt, a choice without text to be parsed.

The prompt is computed once, and its cache is shared by a batch of one row a continuation, padded at the end.

Legend of shapes: B continuations, L tokens of the longest, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.cache_files import CachedPrefix
from menny.engine.generate import prefill, until_read
from menny.engine.passes import PREFILL_CHUNK, Cancelled, Pass
from menny.engine.runtime import RequestControl, Runtime
from menny.engine_protocols import Score
from menny.errors import EngineError

MOST_BYTES = (
    1 << 30
)  # of a batch's cache; more continuations are computed in several batches, as are those beyond a chunk


async def score(
    runtime: Runtime,
    prompt: Sequence[int],
    continuations: Sequence[Sequence[int]],
    shared: int = 0,
    control: RequestControl | None = None,
) -> list[Score]:
    """Return the score of each continuation of a prompt.

    Of what is computed, only the cache of the prompt's first `shared` tokens is kept, for prompts that begin with the
    same ones. Raises EngineError when the model's numbers overflow, and Cancelled.
    """
    control = control or RequestControl()
    await until_read(runtime, prompt, control)
    cached = runtime.prefix_cache.copy(prompt)
    cache = cached.cache if cached else runtime.model.make_cache()
    for end in (min(shared, len(prompt) - 1), len(prompt) - 1):
        start = cache.offset
        async for done in prefill(mx.array(list(prompt[start:end]), mx.int32), cache):
            control.on_prefill(start + done)
            if control.is_cancelled():
                raise Cancelled
        if start < end == shared:
            runtime.prefix_cache.insert(CachedPrefix(tuple(prompt[:shared]), cache.prefix(shared)))
    scores: list[Score] = []
    for batch in _batches(continuations, cache.nbytes):
        scores += await _score_batch(runtime, prompt[-1], batch, cache)
        if control.is_cancelled():
            raise Cancelled
    return scores


def _batches(continuations: Sequence[Sequence[int]], cache_bytes: int) -> Iterator[Sequence[Sequence[int]]]:
    longest = max(map(len, continuations))
    rows = max(1, min(MOST_BYTES // max(1, cache_bytes), PREFILL_CHUNK // longest))
    for start in range(0, len(continuations), rows):
        yield continuations[start : start + rows]


async def _score_batch(
    runtime: Runtime, last: int, continuations: Sequence[Sequence[int]], cache: Cache
) -> list[Score]:
    """Compute the prompt's last token and all continuations, without their last tokens, in one pass."""
    longest = max(map(len, continuations))
    padded = [[*tokens, *[last] * (longest - len(tokens))] for tokens in continuations]
    inputs = mx.array([[last, *row[:-1]] for row in padded], mx.int32)  # [B, L]
    targets = mx.array(padded, mx.int32)  # [B, L]
    lengths = mx.array([[len(tokens)] for tokens in continuations])  # [B, 1]
    logits = await Pass(inputs, cache.broadcast(len(continuations)))
    assert logits is not None  # noqa: S101
    logits = logits[..., : runtime.vocab_size].astype(mx.float32)  # [B, L, V]
    chosen = mx.take_along_axis(logits, targets[..., None], axis=-1)[..., 0] - mx.logsumexp(logits, axis=-1)  # [B, L]
    sums = mx.where(mx.arange(longest) < lengths, chosen, 0).sum(axis=-1)  # [B]
    mx.eval(sums)
    if not mx.all(mx.isfinite(sums)).item():
        raise EngineError("The model's numbers overflowed (NaN), so nothing can be scored. Try another model file.")
    return [
        Score(float(value.item()), len(tokens))  # type: ignore[arg-type]
        for value, tokens in zip(sums, continuations, strict=True)
    ]
