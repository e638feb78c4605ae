"""A model that was written as a hub-style folder is the same model, here and in mlx-lm."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model as load_in_mlx_lm

from menny.engine import Mistral, load_model
from menny.engine.checkpoints.export import export_folder, half_split
from tests.engine.tiny_models import built, quantize, random_weights, tiny_args, write_folder, write_gguf

TOKENS = mx.array([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]])


def largest_difference(ours: mx.array, theirs: mx.array) -> float:
    return float(np.abs(np.array(ours) - np.array(theirs)).max())


def assert_same(model: Mistral, folder: Path) -> None:
    export_folder(model, folder)
    logits = model(TOKENS)[0]
    assert largest_difference(logits, load_model(folder)(TOKENS)[0]) < 1e-4
    peer, _ = load_in_mlx_lm(folder)
    assert largest_difference(logits, peer(TOKENS)) < 1e-4 * np.abs(np.array(logits)).max()


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"rope_theta": 1e6, "n_kv_heads": 4}])
def test_a_hubs_model_comes_out_as_it_went_in(tmp_path: Path, changes: dict[str, Any]) -> None:
    args = tiny_args(**changes)
    assert_same(built(args, random_weights(args)), tmp_path / "new" / "folder")


def test_a_gguf_model_comes_out_with_its_rows_in_the_hubs_order(tmp_path: Path) -> None:
    args = tiny_args(vocab_size=300)
    write_gguf(tmp_path / "tiny.gguf", args, random_weights(args))
    assert_same(load_model(tmp_path / "tiny.gguf"), tmp_path / "folder")


def test_quantized_weights_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = tiny_args()
    weights = quantize(random_weights(args), 32, 4, only=lambda name: "embed" not in name)
    weights |= quantize({k: v for k, v in random_weights(args).items() if "lm_head" in k}, 64, 8)
    config = {"quantization": {"group_size": 32, "bits": 4, "lm_head": {"group_size": 64, "bits": 8}}}
    source = write_folder(tmp_path / "source", args, weights, **config)
    monkeypatch.setattr(
        "menny.engine.checkpoints.load.psutil.virtual_memory", lambda: type("Memory", (), {"available": 0})
    )
    model = load_model(source)
    assert_same(model, tmp_path / "folder")
    written = mx.load(str(tmp_path / "folder" / "model.safetensors"))
    assert set(written) == set(weights)
    assert written["lm_head.weight"].dtype == mx.uint32


def test_neighbouring_pairs_come_apart_within_each_head() -> None:
    rows = mx.arange(12)[:, None]  # two heads of six rows
    assert half_split(rows, 2)[:, 0].tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
