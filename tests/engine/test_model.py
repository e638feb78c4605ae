"""The forward pass is the paper's: it gives the logits of a plain float64 computation, however the weights are kept."""

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import Mistral
from menny.engine.cache import KVCache, RollingCache
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import built, interleave, random_weights, tiny_args

TOKENS = np.random.default_rng(7).integers(0, 50, 40).tolist()

SHAPES = {
    "grouped queries and a head_dim unlike dim / heads": {},
    "as many KV heads as heads": {"n_kv_heads": 4},
    "one KV head for all": {"n_kv_heads": 1},
    "heads that share by threes": {"n_heads": 6, "n_kv_heads": 2},
    "a head_dim that 8 doesn't divide": {"head_dim": 6, "n_heads": 3, "n_kv_heads": 1},
    "head_dim = dim / heads": {"head_dim": 16},
    "a tied output": {"tie_word_embeddings": True},
    "another theta": {"rope_theta": 1e6},
    "a large epsilon": {"norm_eps": 0.1},
    "a window": {"sliding_window": 7},
    "a window of one": {"sliding_window": 1},
    "one block": {"n_layers": 1},
}


def logits(model: Mistral, tokens: list[int]) -> np.ndarray:
    return np.array(model(mx.array([tokens]))[0][0])


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_logits_are_those_of_a_plain_float64_computation(changes):
    args = tiny_args(**changes)
    weights = random_weights(args)
    truth = logits_of(args, weights, TOKENS)
    got = logits(built(args, weights), TOKENS)
    assert got.dtype == np.float32
    assert np.abs(got - truth).max() < 1e-5 * np.abs(truth).max()


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_both_pairings_of_rope_agree_once_the_rows_are_permuted(n_kv_heads):
    halves = tiny_args(n_kv_heads=n_kv_heads)
    neighbours = tiny_args(n_kv_heads=n_kv_heads, rope_traditional=True)
    weights = random_weights(halves)
    permuted = dict(weights)
    for name in weights:
        if "q_proj" in name or "k_proj" in name:
            permuted[name] = interleave(weights[name], halves.n_heads if "q_proj" in name else n_kv_heads)
    truth = logits(built(halves, weights), TOKENS)
    assert np.abs(logits(built(neighbours, permuted), TOKENS) - truth).max() < 1e-5
    assert np.abs(logits(built(neighbours, weights), TOKENS) - truth).max() > 0.1  # else the test would show nothing


def test_a_token_sees_nothing_behind_it():
    args = tiny_args()
    model = built(args, random_weights(args))
    changed = [*TOKENS[:20], *reversed(TOKENS[20:])]
    assert np.array_equal(logits(model, TOKENS)[:20], logits(model, changed)[:20])


def test_a_token_reaches_no_further_back_than_the_window_of_every_block():
    args = tiny_args(sliding_window=4)  # two blocks: 2 x 3 positions back
    model = built(args, random_weights(args))
    changed = [(token + 1) % 50 for token in TOKENS[:10]] + TOKENS[10:]
    before, after = logits(model, TOKENS), logits(model, changed)
    assert np.abs(before[16:] - after[16:]).max() < 1e-6
    assert np.abs(before[15] - after[15]).max() > 1e-4


def test_rows_of_a_batch_dont_mix():
    args = tiny_args()
    model = built(args, random_weights(args))
    batch = [TOKENS[:10], TOKENS[10:20], TOKENS[20:30]]
    together = np.array(model(mx.array(batch))[0])
    assert together.shape == (3, 10, args.vocab_size)
    for row, tokens in zip(together, batch, strict=True):
        assert np.abs(row - logits(model, tokens)).max() < 1e-5


def test_a_model_without_a_window_makes_growing_caches_and_one_with_a_window_rolling_ones():
    growing = built(tiny_args(), random_weights(tiny_args())).make_cache()
    rolling_args = tiny_args(sliding_window=9)
    rolling = built(rolling_args, random_weights(rolling_args)).make_cache()
    assert [type(layer) for layer in growing] == [KVCache] * 2
    assert [type(layer) for layer in rolling] == [RollingCache] * 2
    assert growing.offset == rolling.offset == growing.nbytes == rolling.nbytes == 0


def test_the_model_tells_its_args_and_the_cache_how_far_it_is():
    args = tiny_args()
    model = built(args, random_weights(args))
    _, cache = model(mx.array([TOKENS[:10]]))
    _, same = model(mx.array([TOKENS[10:13]]), cache)
    assert model.args == args
    assert same is cache
    assert cache.offset == 13


def test_n_parameters_counts_every_weight():
    for changes in ({}, {"tie_word_embeddings": True}, {"n_kv_heads": 1, "n_layers": 3}):
        args = tiny_args(**changes)
        assert args.n_parameters == sum(weight.size for weight in random_weights(args).values())
