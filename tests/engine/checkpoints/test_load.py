"""Every form of a model on disk becomes the same model in memory."""

from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
import pytest

from menny.engine import Mistral, load_model
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import Weights, quantize, random_weights, tiny_args, write_folder, write_gguf

TOKENS = np.random.default_rng(11).integers(0, 50, 20).tolist()


def logits(model: Mistral) -> np.ndarray:
    return np.array(model(mx.array([TOKENS]))[0][0])


INTEGERS = 1e-4  # quantized weights are multiplied with activations in 16-bit integers


def close(got: np.ndarray, truth: np.ndarray, tolerance: float = 1e-5) -> bool:
    return bool(np.abs(got - truth).max() < tolerance * np.abs(truth).max())


def dtypes(model: Mistral) -> set[mx.Dtype]:
    return {array.dtype for _, array in nn.utils.tree_flatten(model.parameters())}


@pytest.fixture
def no_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the expanded weights don't fit: quantized weights stay so."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))


def quantized_modules(model: Mistral) -> dict[str, tuple[int, int]]:
    kinds = nn.QuantizedLinear | nn.QuantizedEmbedding
    found = {name: (m.group_size, m.bits) for name, m in model.named_modules() if isinstance(m, kinds)}
    return found | {name: (packed.group, packed.bits) for name, packed in model.packed.items() if packed.group}


def as_float(arrays: dict[str, mx.array], group_size: int, bits: int) -> Weights:
    """What quantized weights stand for."""
    meant = {}
    for name in [name for name in arrays if name.endswith(".weight")]:
        stem, dense = name.removesuffix("weight"), arrays[name]
        if f"{stem}scales" in arrays:
            dense = mx.dequantize(dense, arrays[f"{stem}scales"], arrays[f"{stem}biases"], group_size, bits)
        meant[name] = np.array(dense)
    return meant


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_a_hub_folder_in_any_precision_and_number_of_shards(tmp_path, dtype, shards, tied):
    args = tiny_args(tie_word_embeddings=tied)
    weights = random_weights(args)
    rounded = {name: np.array(mx.array(w).astype(dtype).astype(mx.float32)) for name, w in weights.items()}
    model = load_model(write_folder(tmp_path, args, weights, dtype=dtype, shards=shards))
    assert dtypes(model) == {mx.float32, dtype}
    assert close(logits(model), logits_of(args, rounded, TOKENS))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"n_kv_heads": 4, "sliding_window": 6}])
def test_a_gguf_of_any_type(tmp_path, kind, changes):
    args = tiny_args(**changes)
    meant = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    model = load_model(str(tmp_path / "m.gguf"))
    assert dtypes(model) - {mx.float32, mx.uint32} == {"F32": set(), "BF16": {mx.bfloat16}}.get(kind, {mx.float16})
    assert close(logits(model), logits_of(args, meant, TOKENS), INTEGERS)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1"])
def test_a_gguf_kept_quantized_gives_the_same_logits(tmp_path, no_free_memory, kind):
    args = tiny_args()
    meant = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    model = load_model(tmp_path / "m.gguf")
    assert set(quantized_modules(model).values()) == {(32, 8 if kind == "Q8_0" else 4)}
    assert "layers.1.attention.wqkv" in quantized_modules(model)
    assert close(logits(model), logits_of(args, meant, TOKENS), INTEGERS)


QUANTIZATIONS = [(group_size, bits) for group_size in (32, 64) for bits in (4, 8)] + [(32, 3), (64, 6)]


@pytest.mark.parametrize(("group_size", "bits"), QUANTIZATIONS)
@pytest.mark.parametrize("tied", [False, True])
def test_a_quantized_folder_gives_the_logits_of_what_its_weights_stand_for(tmp_path, group_size, bits, tied):
    args = tiny_args(hidden_dim=128, head_dim=16, tie_word_embeddings=tied)
    arrays = quantize(random_weights(args), group_size, bits)
    config = {"quantization": {"group_size": group_size, "bits": bits}}
    model = load_model(write_folder(tmp_path, args, arrays, shards=2, **config))
    assert set(quantized_modules(model).values()) == {(group_size, 4 if bits <= 4 else 8)}
    assert close(logits(model), logits_of(args, as_float(arrays, group_size, bits), TOKENS), INTEGERS)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
@pytest.mark.parametrize(("group_size", "bits"), [(32, 4), (64, 8)])
def test_a_folder_kept_quantized_gives_the_same_logits(tmp_path, no_free_memory, group_size, bits, dtype):
    args = tiny_args(hidden_dim=128, head_dim=16)
    arrays = quantize(random_weights(args), group_size, bits)
    rounded = {n: a if a.dtype == mx.uint32 else a.astype(dtype).astype(mx.float32) for n, a in arrays.items()}
    model = load_model(write_folder(tmp_path, args, arrays, dtype=dtype))
    assert dtypes(model) == {mx.float32, mx.uint32, dtype}
    assert set(quantized_modules(model).values()) == {(group_size, bits)}
    assert close(logits(model), logits_of(args, as_float(rounded, group_size, bits), TOKENS), INTEGERS)


def test_a_part_of_a_model_may_be_quantized(tmp_path, no_free_memory):
    args = tiny_args(hidden_dim=128, head_dim=16)
    arrays = quantize(random_weights(args), 32, 4, only=lambda name: "mlp" in name or "lm_head" in name)
    model = load_model(write_folder(tmp_path, args, arrays))
    assert {name.split(".")[-2] for name in quantized_modules(model) if "layers" in name} == {"feed_forward"}
    assert "output" in quantized_modules(model)
    assert "tok_embeddings" not in quantized_modules(model)
    assert close(logits(model), logits_of(args, as_float(arrays, 32, 4), TOKENS), INTEGERS)


@pytest.mark.parametrize("memory", ["plenty", "little"])
@pytest.mark.parametrize("qkv", [(4, 8, 8), (4, 4, None), (None, 8, 4)])
def test_bits_may_differ_within_one_attention(tmp_path, request, memory, qkv):
    if memory == "little":
        request.getfixturevalue("no_free_memory")
    args = tiny_args(hidden_dim=128, head_dim=16)
    bits_of = dict(zip(("q_proj", "k_proj", "v_proj"), qkv, strict=True))
    arrays, meant = {}, {}
    for name, weight in random_weights(args).items():
        bits = bits_of.get(name.split(".")[-2], 4)
        part = quantize({name: weight}, 32, bits or 4, only=lambda _, bits=bits: bits is not None)
        arrays |= part
        meant |= as_float(part, 32, bits or 4)
    model = load_model(write_folder(tmp_path, args, arrays))
    assert "feed_forward.w1" in " ".join(quantized_modules(model))
    assert close(logits(model), logits_of(args, meant, TOKENS), INTEGERS)


def test_a_tied_models_copy_of_its_embeddings_is_left_alone(tmp_path):
    args = tiny_args(tie_word_embeddings=True)
    weights = random_weights(args)
    copied = quantize(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}, 32, 4)
    model = load_model(write_folder(tmp_path, args, copied))
    assert close(logits(model), logits_of(args, as_float(copied, 32, 4), TOKENS), INTEGERS)


def test_what_old_exports_carry_beside_the_weights_is_left_alone(tmp_path):
    args = tiny_args()
    weights = random_weights(args)
    old = weights | {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32) for n in range(2)}
    assert close(logits(load_model(write_folder(tmp_path, args, old))), logits_of(args, weights, TOKENS))


def test_every_weight_is_there_once_the_model_is_and_the_files_can_go(tmp_path):
    args = tiny_args()
    weights = random_weights(args)
    model = load_model(write_folder(tmp_path, args, weights, shards=2))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    assert close(logits(model), logits_of(args, weights, TOKENS))
