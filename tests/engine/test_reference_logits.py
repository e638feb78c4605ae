"""The engine's logits are those of transformers in float32, through every format (tools/make_reference_logits.py)."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import Mistral, ModelArgs, load_model
from menny.engine.args import args_from_folder
from menny.engine.formats.pth import read_pth
from tests.engine.format_files import FORMATS
from tests.engine.tiny_models import Weights, shapes
from tools.random_weights import draw

REFERENCE = Path(__file__).parents[1] / "reference"
MODELS = sorted(path.stem for path in REFERENCE.glob("*.npz"))
TOLERANCE = 1e-3


def stored(name: str, tmp_path: Path) -> tuple[ModelArgs, Weights, np.ndarray, np.ndarray]:
    """A reference's args, weights (drawn again from its seed), tokens [B, L] and logits [B, L, V]."""
    with np.load(REFERENCE / f"{name}.npz") as file:
        config, made_by = json.loads(str(file["config"])), json.loads(str(file["made_by"]))
        tokens, logits = file["tokens"], file["logits"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    args = args_from_folder(tmp_path)
    return args, draw(shapes(args), made_by["seed"]), tokens, logits


def in_chunks(model: Mistral, tokens: np.ndarray, size: int) -> np.ndarray:
    cache, pieces = model.make_cache(), []
    for start in range(0, tokens.shape[1], size):
        logits, cache = model(mx.array(tokens[:, start : start + size]), cache)
        pieces.append(np.array(logits))
    return np.concatenate(pieces, axis=1)


def test_the_references_cover_what_they_should(tmp_path):
    told: list[dict[str, Any]] = [vars(stored(name, tmp_path)[0]) for name in MODELS]
    batches = [stored(name, tmp_path)[2].shape for name in MODELS]
    assert {args["moe"] is None for args in told} == {True, False}
    assert {args["sliding_window"] for args in told} == {None, 8, 24}
    assert {args["rope_scaling"] and args["rope_scaling"].rope_type for args in told} == {
        None,
        "yarn",
        "llama3",
        "linear",
    }
    assert any(args["rope_scaling"] and args["rope_scaling"].attention_factor != 1 for args in told)
    assert any(args["query_scaling"] for args in told)
    assert any(args["windowed_layers"] for args in told)
    assert {args["tie_word_embeddings"] for args in told} == {True, False}
    assert any(args["head_dim"] != args["dim"] // args["n_heads"] for args in told)
    assert set(batches) == {(1, 40), (2, 40), (4, 40)}
    assert sum(path.stat().st_size for path in REFERENCE.iterdir()) < 1 << 20


CARRIED = [
    (kind, name)
    for kind in FORMATS
    for name in MODELS
    if not (kind.startswith("gguf") and name == "ministral")  # which has no word for layers that see everything
]


@pytest.mark.parametrize(("kind", "name"), CARRIED)
def test_logits_are_those_of_transformers_through_every_format(tmp_path, kind, name):
    args, weights, tokens, logits = stored(name, tmp_path)
    model = load_model(FORMATS[kind](tmp_path / "m", args, weights))
    assert np.abs(np.array(model(mx.array(tokens))[0]) - logits).max() < TOLERANCE


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 33])
def test_chunks_of_any_size_give_them_too(tmp_path, size, name):
    args, weights, tokens, logits = stored(name, tmp_path)
    model = load_model(FORMATS["hub"](tmp_path / "m", args, weights))
    assert np.abs(in_chunks(model, tokens, size) - logits).max() < TOLERANCE


def test_a_checkpoint_that_pytorch_itself_saved_is_read_number_by_number():
    numbers = np.arange(24, dtype=np.float32) / 8
    tensors = dict(read_pth(REFERENCE / "pytorch.pth"))
    meant = {
        "float32": (mx.float32, numbers.reshape(4, 6)),
        "float16": (mx.float16, numbers.reshape(2, 12)),
        "bfloat16": (mx.bfloat16, numbers),
        "a view": (mx.float32, numbers.reshape(4, 6)[1:3].T),
    }
    assert {key: tensor.dtype for key, tensor in tensors.items()} == {key: dtype for key, (dtype, _) in meant.items()}
    for key, (_, array) in meant.items():
        assert np.array_equal(np.array(tensors[key].astype(mx.float32)), array)
