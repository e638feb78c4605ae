"""Layers that see everything between layers that see a window, as Ministral has them."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model as load_in_mlx_lm

from menny.engine import ModelArgs, MoEArgs, load_model
from menny.engine.benchmarks.verify import verify_model
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.errors import ModelError
from tests.engine.format_files import FORMATS, hub_apart
from tests.engine.naive_model import logits_of
from tests.engine.test_args import read
from tests.engine.tiny_models import built, random_weights, tiny_args

WINDOW = 5
TOKENS = np.random.default_rng(0).integers(0, 50, (2, 40))


def interleaved(**changes: Any) -> ModelArgs:
    layers = (False, True, True, False)
    return tiny_args(**{"n_layers": 4, "sliding_window": WINDOW, "windowed_layers": layers, **changes})


def difference(logits: mx.array, truth: np.ndarray) -> float:
    return float(np.abs(np.array(logits) - truth).max() / np.abs(truth).max())


@pytest.mark.parametrize("moe", [None, MoEArgs(4, 2)], ids=["dense", "sparse"])
def test_each_layer_sees_what_it_should_in_chunks_of_any_size(moe: MoEArgs | None) -> None:
    args = interleaved(moe=moe)
    weights = random_weights(args)
    model, truth = built(args, weights), np.stack([logits_of(args, weights, row) for row in TOKENS.tolist()])
    for size in (1, 3, 4, 5, 6, 17, 40):
        cache = model.make_cache()
        for start in range(0, 40, size):
            logits, cache = model(mx.array(TOKENS[:, start : start + size]), cache)
            assert difference(logits, truth[:, start : start + size]) < 1e-5, size
    assert verify_model(model).agrees


def test_a_window_in_some_layers_is_neither_one_in_all_nor_in_none() -> None:
    weights = random_weights(interleaved())
    some, every, none = (
        np.array(built(interleaved(**changes), weights)(mx.array(TOKENS))[0])
        for changes in ({}, {"windowed_layers": None}, {"windowed_layers": (False,) * 4})
    )
    assert min(np.abs(some - every).max(), np.abs(some - none).max()) > 0.01


@pytest.mark.parametrize("form", [form for form in FORMATS if "gguf" not in form])  # whose metadata can't tell it
def test_every_format_is_read_and_converted_so_and_mlx_lm_agrees(tmp_path: Path, form: str) -> None:
    args = interleaved()
    weights = random_weights(args)
    source = FORMATS[form](tmp_path / "source", args, weights)
    truth = np.stack([logits_of(args, weights, row) for row in TOKENS.tolist()])
    assert difference(load_model(source)(mx.array(TOKENS))[0], truth) < 1e-5
    convert(source, tmp_path / "target", QuantizationConfig("float32"))
    assert difference(load_model(tmp_path / "target")(mx.array(TOKENS))[0], truth) < 1e-5
    peer, _ = load_in_mlx_lm(tmp_path / "target")
    assert difference(peer(mx.array(TOKENS)), truth) < 1e-4


def test_a_cache_is_reused_only_as_far_as_its_narrowest_layer_reaches_back(tmp_path: Path) -> None:
    model = load_model(hub_apart(tmp_path, interleaved(), random_weights(interleaved())))
    cache = model.make_cache()
    model(mx.array(TOKENS), cache)
    assert [cache.can_trim_to(offset) for offset in (0, 20, 38, 39, 40)] == [False, False, False, True, True]
    whole, rows = model(mx.array(TOKENS))[0], [layer.nbytes for layer in cache]
    again = model(mx.array(TOKENS[:, 39:]), cache.prefix(39))[0]
    assert difference(again, np.array(whole[:, 39:])) < 1e-5
    assert rows[1] == rows[2] < rows[0] == rows[3]


def test_a_layer_too_many_is_refused() -> None:
    with pytest.raises(ModelError, match="windowed_layers has 4 layers, but n_layers is 2"):
        interleaved(n_layers=2)


@pytest.mark.parametrize("kind", ["mistral", "ministral"])
def test_ministral_tells_the_window_of_each_layer(tmp_path, kind):
    types = ["full_attention", *["sliding_attention"] * 3] * 8
    args = read(tmp_path, model_type=kind, layer_types=types, sliding_window=32768)
    assert (args.sliding_window, [args.window_of(layer) for layer in range(5)]) == (
        32768,
        [None, 32768, 32768, 32768, None],
    )
    for key in ("sliding_window", "_sliding_window"):  # as the reference's files have it, a pattern that repeats
        others = {} if key == "sliding_window" else {"sliding_window": ...}
        assert read(tmp_path, **{**others, key: [None, 32768, 32768, 32768]}) == args


def test_layers_that_are_all_alike_have_one_window_or_none(tmp_path):
    sliding = read(tmp_path, layer_types=["sliding_attention"] * 32)
    assert (sliding.sliding_window, sliding.windowed_layers) == (4096, None)
    full = read(tmp_path, layer_types=["full_attention"] * 32)
    assert (full.sliding_window, full.windowed_layers) == (None, None)
