"""Chunks, single tokens and one pass are the same computation; the rolling cache stays as small as its window."""

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import MoEArgs
from menny.engine.cache import BLOCK, KVCache, LayerCache, RollingCache
from tests.engine.naive_model import attend, logits_of
from tests.engine.tiny_models import built, random_weights, tiny_args

HEADS, KV_HEADS, DIM = 4, 2, 8


def cut(length: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, length)) for start in range(0, length, size))


def attention_in_pieces(cache: LayerCache, kv: np.ndarray, queries: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Attention as a block does it: the keys and values [2, B, K, T, D] go in by pieces of these sizes."""
    keys, values = mx.array(kv)
    mixed, start = [], 0
    for size in sizes:
        piece = slice(start, start + size)
        mask = cache.mask(size)
        seen_keys, seen_values = cache.update(keys[:, :, piece], values[:, :, piece])
        q = mx.array(queries)[:, :, piece]
        mixed.append(mx.fast.scaled_dot_product_attention(q, seen_keys, seen_values, scale=DIM**-0.5, mask=mask))
        mx.eval(mixed[-1], cache.state)
        start += size
    return np.array(mx.concatenate(mixed, axis=2))


def drawn(batch: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    kv = generator.standard_normal((2, batch, KV_HEADS, length, DIM)).astype(np.float32)
    return kv, generator.standard_normal((batch, HEADS, length, DIM)).astype(np.float32)


def truth(kv: np.ndarray, queries: np.ndarray, window: int | None) -> np.ndarray:
    rows = zip(queries, kv[0], kv[1], strict=True)
    return np.stack([attend(q.astype(float), k.astype(float), v.astype(float), window) for q, k, v in rows])


SIZES = {
    "one pass": [40],
    "token by token": [1] * 40,
    "sevens": [7] * 5 + [5],
    "a chunk, then tokens": [13] + [1] * 27,
    "tokens, then a chunk": [1] * 9 + [31],
    "chunks and tokens mixed": [3, 1, 1, 8, 1, 2, 16, 1, 5, 2],
    "a chunk as long as the window of 8": [8, 8, 1, 8, 8, 7],
    "chunks beyond the window of 8": [9, 17, 1, 13],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("window", [None, 1, 2, 3, 8, 39, 40, 41, 1000])
@pytest.mark.parametrize(("quantized", "error"), [(False, 1e-5), (True, 2e-4)], ids=["plain", "quantized"])
def test_attention_over_the_cache_is_plain_masked_attention(window, sizes, quantized, error):
    kv, queries = drawn(batch=1, length=40)
    cache = KVCache(quantized) if window is None else RollingCache(window, quantized)
    got = attention_in_pieces(cache, kv, queries, sizes)
    assert cache.offset == 40
    assert np.abs(got - truth(kv, queries, window)).max() < error


@pytest.mark.parametrize("window", [None, 3, 8])
def test_a_batch_of_four_is_kept_apart(window):
    kv, queries = drawn(batch=4, length=24)
    cache = KVCache() if window is None else RollingCache(window)
    got = attention_in_pieces(cache, kv, queries, [5, 1, 1, 10, 1, 6])
    assert np.abs(got - truth(kv, queries, window)).max() < 1e-5


@pytest.mark.parametrize("window", [None, 100, 255, 256, 257, 300, 512, 600])
@pytest.mark.parametrize(
    "sizes",
    [[255, 1, 1, 1, 256, 6], [256, 1, 255, 1, 7], [257, 256, 7], [1, 520, 1, 1], [64] * 8 + [8], [250, *[1] * 60, 210]],
    ids=str,
)
def test_nothing_is_lost_where_a_block_ends(window, sizes):
    """Cheaper than attention: the keys returned are compared with those that the queries may see."""
    keys = np.arange(sum(sizes), dtype=np.float32)
    cache = KVCache() if window is None else RollingCache(window)
    start = 0
    for size in sizes:
        end = start + size
        piece = mx.array(keys[start:end]).reshape(1, 1, size, 1)
        mask = cache.mask(size)
        seen_keys, seen_values = cache.update(piece, -piece)
        seen = np.array(seen_keys).ravel()
        assert np.array_equal(np.array(seen_values).ravel(), -seen)
        allowed = visible(mask, size, len(seen))
        for query in {0, 1, size // 2, size - 1} & set(range(size)):
            last = start + query
            first = 0 if window is None else max(0, last - window + 1)
            assert sorted(seen[allowed[query]]) == list(range(first, last + 1))
        start = end


def visible(mask: mx.array | str | None, n_queries: int, n_keys: int) -> np.ndarray:
    """What MLX's attention makes of a mask: "causal" counts from the last query and the last key."""
    if mask is None:
        return np.ones((n_queries, n_keys), bool)
    if isinstance(mask, str):
        assert mask == "causal"
        return np.arange(n_keys)[None] <= np.arange(n_queries)[:, None] + n_keys - n_queries
    assert mask.shape == (n_queries, n_keys)
    return np.array(mask)


@pytest.mark.parametrize("window", [1, 2, 200, 256, 300, 700])
def test_the_rolling_cache_takes_no_more_than_its_window(window):
    cache = RollingCache(window)
    token = mx.ones((1, KV_HEADS, 1, DIM))
    bytes_a_token = 2 * KV_HEADS * DIM * 4
    for size in (5, window, 3 * window + 1, 1, 1, 2 * BLOCK + 1):
        cache.update(mx.repeat(token, size, axis=2), mx.repeat(token, size, axis=2))
        mx.eval(cache.state)
        assert cache.nbytes <= window * bytes_a_token
    assert cache.nbytes == window * bytes_a_token


def test_the_growing_cache_grows_by_blocks():
    cache = KVCache()
    sizes = []
    for size in (1, BLOCK - 1, 1, 3 * BLOCK):
        token = mx.ones((2, KV_HEADS, size, DIM))
        cache.update(token, token)
        sizes.append(cache.nbytes // (2 * 2 * KV_HEADS * DIM * 4))
    assert sizes == [BLOCK, BLOCK, 2 * BLOCK, 5 * BLOCK]


def test_a_window_keeps_the_cache_of_a_long_prompt_an_eighth_as_large():
    narrow = tiny_args(sliding_window=64)
    small, large = (built(args, random_weights(args)).make_cache() for args in (narrow, tiny_args()))
    for cache in (small, large):
        for layer in cache:
            layer.update(mx.zeros((1, 2, 512, 8)), mx.zeros((1, 2, 512, 8)))
    assert small.nbytes * 8 == large.nbytes


@pytest.mark.parametrize("window", [None, 1, 2, 5, 16, 29, 30, 31, 100])
def test_a_model_gives_the_same_logits_in_one_pass_in_chunks_and_token_by_token(window):
    args = tiny_args(sliding_window=window)
    weights = random_weights(args)
    model = built(args, weights)
    tokens = np.random.default_rng(3).integers(0, args.vocab_size, 30).tolist()
    exact = logits_of(args, weights, tokens)
    for size in (1, 7, 16, 30):
        cache = model.make_cache()
        rows = [np.array(model(mx.array([tokens[a:b]]), cache)[0][0]) for a, b in cut(30, size)]
        assert np.abs(np.concatenate(rows) - exact).max() < 1e-5, size


@pytest.mark.parametrize("window", [None, 50, 256, 300])
def test_a_long_text_in_chunks_across_blocks_and_the_wrap_gives_the_logits_of_one_pass(window):
    args = tiny_args(sliding_window=window, n_layers=1)
    model = built(args, random_weights(args))
    tokens = mx.array(np.random.default_rng(4).integers(0, args.vocab_size, (2, 560)))
    whole = np.array(model(tokens)[0])
    for size in (100, 257, 559):
        cache = model.make_cache()
        rows = [np.array(model(tokens[:, a:b], cache)[0]) for a, b in cut(560, size)]
        assert np.abs(np.concatenate(rows, axis=1) - whole).max() < 1e-5, size


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 50, 100])
@pytest.mark.parametrize("moe", [None, MoEArgs(4, 2)], ids=["dense", "sparse"])
def test_three_turns_in_one_rolling_cache_are_one_pass_and_take_no_more_than_the_window(moe, size):
    args = tiny_args(sliding_window=8, moe=moe, n_layers=1 if moe else 3)
    model = built(args, random_weights(args))
    tokens = mx.array(np.random.default_rng(5).integers(0, args.vocab_size, (2, 300)))
    whole = np.array(model(tokens)[0])
    cache, window = model.make_cache(), 2 * 2 * args.n_kv_heads * 8 * args.head_dim * 4 * args.n_layers
    for turn in range(0, 300, 100):
        for a, b in cut(100, size):
            rows = np.array(model(tokens[:, turn + a : turn + b], cache)[0])
            assert np.abs(rows - whole[:, turn + a : turn + b]).max() < 1e-4
            assert cache.nbytes <= window
    assert (cache.offset, cache.nbytes) == (300, window)


@pytest.mark.parametrize(("window", "slots"), [(None, 4 * BLOCK), (300, 300)])
def test_room_that_is_expected_is_made_at_once_and_changes_nothing(window: int | None, slots: int) -> None:
    """As the prompt's chunks come, no buffer is copied into a larger one."""
    kv, queries = drawn(1, 2 * BLOCK + 10)
    sizes = [BLOCK, BLOCK, 1, 9]
    cache, plain = (RollingCache(window) if window else KVCache() for _ in range(2))
    cache.reserve(4 * BLOCK)
    cache.update(*(mx.array(kv)[:, :, :, :1]))
    assert cache.nbytes == 2 * KV_HEADS * DIM * 4 * slots

    cache.trim(0)
    np.testing.assert_array_equal(
        attention_in_pieces(cache, kv, queries, sizes), attention_in_pieces(plain, kv, queries, sizes)
    )
    assert cache.nbytes == 2 * KV_HEADS * DIM * 4 * slots
