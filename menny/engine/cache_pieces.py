"""Pieces of caches: the keys and values of some tokens, apart from those before them, and whole caches made of them.

Only caches of all positions can be divided: in a rolling one, later tokens lie where earlier ones were.
"""

from collections.abc import Sequence

import mlx.core as mx

from menny.engine.cache import BLOCK, Cache, KVCache


def can_divide(cache: Cache) -> bool:
    """True if a cache can be taken apart, and is all on this machine."""
    return type(cache) is Cache and all(isinstance(layer, KVCache) for layer in cache)


def piece(cache: Cache, start: int, end: int) -> Cache:
    """Copy what belongs to the tokens from `start` to before `end`."""
    copied = Cache(
        KVCache.of([mx.contiguous(buffer[..., start:end, :]) for buffer in layer.state], end - start) for layer in cache
    )
    mx.eval(copied.state)
    return copied


def join(pieces: Sequence[Cache], n_tokens: int) -> Cache:
    """Make a cache of the first `n_tokens` tokens of pieces, one behind the other."""
    lengths, left = [], n_tokens
    for one in pieces:
        lengths.append(min(one.offset, left))
        left -= lengths[-1]
    joined = Cache(_join_layers(layers, lengths, n_tokens) for layers in zip(*pieces, strict=True))
    mx.eval(joined.state)
    return joined


def _join_layers(layers: Sequence[KVCache], lengths: Sequence[int], n_tokens: int) -> KVCache:
    spare = -n_tokens % BLOCK
    buffers = []
    for parts in zip(*(layer.state for layer in layers), strict=True):
        batch, heads, _, dim = parts[0].shape
        held = [part[..., :length, :] for part, length in zip(parts, lengths, strict=True)]
        buffers.append(mx.concatenate([*held, mx.zeros((batch, heads, spare, dim), parts[0].dtype)], axis=2))
    return KVCache.of(buffers, n_tokens)
