"""Every format, dense and sparse, is the same model, whoever's names and order of rows it has."""

import mlx.core as mx
import numpy as np
import pytest
from format_files import FORMATS
from naive_model import logits_of
from tiny_models import random_weights, tiny_args

from menny.engine import Mistral, load_model
from menny.engine.args import MoEArgs

TOKENS = np.random.default_rng(5).integers(0, 50, 40).tolist()
MODELS = {
    "dense": {},
    "dense, a window": {"sliding_window": 8},
    "dense, tied": {"tie_word_embeddings": True},
    "sparse": {"moe": MoEArgs(8, 2)},
    "sparse, a window, one KV head, tied": {
        "moe": MoEArgs(4, 3),
        "sliding_window": 8,
        "n_kv_heads": 1,
        "tie_word_embeddings": True,
    },
}


def logits(model: Mistral) -> np.ndarray:
    return np.array(model(mx.array([TOKENS]))[0][0])


def close(got: np.ndarray, truth: np.ndarray) -> bool:
    return bool(np.abs(got - truth).max() < 1e-5 * np.abs(truth).max())


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_logits_of_a_plain_float64_computation(tmp_path, kind, changes):
    args = tiny_args(**changes)
    weights = random_weights(args)
    model = load_model(FORMATS[kind](tmp_path / "m", args, weights))
    assert model.args.moe == args.moe
    assert model.args.sliding_window == args.sliding_window
    assert close(logits(model), logits_of(args, weights, TOKENS))
