"""How likely a model finds each of several continuations of one prompt: a choice that needs no words to be parsed.

The prompt is computed once, and its cache stands under a batch of one row a continuation, padded at the end.

Legend of shapes: B continuations, L tokens of the longest, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence

import mlx.core as mx

from menny.engine.cache import Cache
from menny.engine.generate import prefill
from menny.engine.model import Mistral
from menny.engine.prefix_cache import CachedPrefix, PrefixCache
from menny.engine_protocols import Score
from menny.errors import EngineError

MOST_BYTES = 1 << 30  # of a batch's cache; continuations that need more are computed in several batches


def score(
    model: Mistral,
    prompt: Sequence[int],
    continuations: Sequence[Sequence[int]],
    vocab_size: int,
    on_prefill: Callable[[int], None],
    is_cancelled: Callable[[], bool],
    prefixes: PrefixCache,
    shared: int = 0,
) -> list[Score] | None:
    """The score of each continuation of a prompt; None: it was cancelled.

    Of what is computed, only the cache of the prompt's first `shared` tokens is kept, for prompts that begin with them
    too. Only the first `vocab_size` rows of the model's output are tokens. Raises EngineError when the model's numbers
    overflow.
    """
    kept = prefixes.copy(prompt)
    cache = kept.cache if kept else model.make_cache()
    for end in (min(shared, len(prompt) - 1), len(prompt) - 1):
        start = cache.offset
        for done in prefill(model, mx.array(list(prompt[start:end]), mx.int32), cache):
            on_prefill(start + done)
            if is_cancelled():
                return None
        if start < end == shared:
            prefixes.insert(CachedPrefix(tuple(prompt[:shared]), cache.prefix(shared)))
    scores: list[Score] = []
    for batch in _batches(continuations, cache.nbytes):
        scores += _score_batch(model, prompt[-1], batch, vocab_size, cache)
        if is_cancelled():
            return None
    return scores


def _batches(continuations: Sequence[Sequence[int]], cache_bytes: int) -> Iterator[Sequence[Sequence[int]]]:
    rows = max(1, MOST_BYTES // max(1, cache_bytes))
    for start in range(0, len(continuations), rows):
        yield continuations[start : start + rows]


def _score_batch(
    model: Mistral, last: int, continuations: Sequence[Sequence[int]], vocab_size: int, cache: Cache
) -> list[Score]:
    """One pass over the prompt's last token and all continuations but for their last tokens, which nothing follows."""
    longest = max(map(len, continuations))
    padded = [[*tokens, *[last] * (longest - len(tokens))] for tokens in continuations]
    inputs = mx.array([[last, *row[:-1]] for row in padded], mx.int32)  # [B, L]
    targets = mx.array(padded, mx.int32)  # [B, L]
    lengths = mx.array([[len(tokens)] for tokens in continuations])  # [B, 1]
    logits = model(inputs, cache.broadcast(len(continuations)))[0][..., :vocab_size].astype(mx.float32)  # [B, L, V]
    chosen = mx.take_along_axis(logits, targets[..., None], axis=-1)[..., 0] - mx.logsumexp(logits, axis=-1)  # [B, L]
    sums = mx.where(mx.arange(longest) < lengths, chosen, 0).sum(axis=-1)  # [B]
    mx.eval(sums)
    if not mx.all(mx.isfinite(sums)).item():
        raise EngineError("The model's numbers overflowed (NaN), so it can judge nothing. Try another model file.")
    return [
        Score(float(value.item()), len(tokens))  # type: ignore[arg-type]
        for value, tokens in zip(sums, continuations, strict=True)
    ]
