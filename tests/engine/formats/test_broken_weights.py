"""What is wrong with a model on disk is told in a sentence that names the file and the key."""

import json
import random
import struct
from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import psutil
import pytest

from menny.engine import load_model
from menny.errors import ModelError
from tests.engine.gguf_files import Tensor, gguf
from tests.engine.tiny_models import (
    gguf_entries,
    hub_config,
    quantize,
    random_weights,
    tiny_args,
    write_folder,
    write_gguf,
)

Q_PROJ, K_PROJ, V_PROJ = (f"model.layers.1.self_attn.{part}_proj" for part in "qkv")


@pytest.fixture(params=["where weights expand", "where they stay quantized"])
def any_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines where expanded weights fit, and where they don't."""
    if request.param == "where they stay quantized":
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_model(path)
    sentence = str(error.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert len(sentence) < 700 + len(str(path))
    return sentence


def test_a_path_that_leads_nowhere_is_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="nobody"):
        load_model("~nobody-of-this-name/model.gguf")
    assert "has neither config.json nor a .gguf file" in refused(tmp_path)


def test_missing_weights_are_named_as_the_file_would(tmp_path):
    args = tiny_args()
    weights = random_weights(args)
    del weights[f"{K_PROJ}.weight"]
    assert f"missing weights: {K_PROJ}.weight." in refused(write_folder(tmp_path / "one", args, weights))
    mlps = [name for name in weights if "mlp" in name]
    fewer = {name: weight for name, weight in weights.items() if name not in mlps}
    assert "model.layers.0.mlp.gate_proj.weight" in refused(write_folder(tmp_path / "many", args, fewer))
    assert "and 4 more" in refused(tmp_path / "many")
    del weights["lm_head.weight"]
    assert "lm_head.weight" in refused(write_folder(tmp_path / "output", args, weights))
    write_gguf(tmp_path / "m.gguf", args, {name: w for name, w in random_weights(args).items() if name not in mlps})
    assert "missing weights: blk.0.ffn_gate.weight" in refused(tmp_path / "m.gguf")


def test_a_missing_shard_without_an_index_is_missed_by_its_number(tmp_path):
    folder = write_folder(tmp_path, tiny_args(), random_weights(tiny_args()), shards=2)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "lacks model-00002-of-00002.safetensors: get the rest" in refused(folder)


def test_weights_of_more_layers_than_the_config_tells_are_named_with_their_shard(tmp_path):
    args = tiny_args()
    folder = write_folder(tmp_path, args, random_weights(args), num_hidden_layers=1)
    sentence = refused(folder)
    assert "unknown weights: model.layers.1." in sentence
    assert "model.safetensors:" in sentence


FOREIGN = [
    "model.layers.0.block_sparse_moe.gate.bias",
    "model.layers.0.block_sparse_moe.experts.#.w1.weight",
    "model.layers.0.block_sparse_moe.experts.01.w1.weight",
    "model.layers.0.block_sparse_moe.experts.1.w4.weight",
    "model.layers.0.self_attn.q_proj.bias",
    "model.layers.0.self_attn.q_proj.qweight",
    "model.layers.00.mlp.up_proj.weight",
    "model.layers.\u0661.mlp.up_proj.weight",
    "model.layers.x.mlp.up_proj.weight",
    "blk.0.attn_q.weight",
    "weight",
    "",
    "x" * 5000,
]


@pytest.mark.parametrize("key", FOREIGN, ids=lambda key: ascii(key[:50]))
def test_a_weight_that_isnt_a_mistrals_is_refused_by_name(tmp_path, key):
    args = tiny_args()
    foreign = random_weights(args) | {key: np.zeros((4, 4), np.float32)}
    assert f"model.safetensors: the key {key[:200]!r} doesn't belong" in refused(write_folder(tmp_path, args, foreign))


TOO_MANY = [
    "model.layers.2.mlp.up_proj.weight",
    f"{Q_PROJ}.biases",
    "model.norm.scales",
    "model.layers.0.block_sparse_moe.gate.weight",
    "model.layers.0.block_sparse_moe.switch_mlp.up_proj.weight",
    "model.layers.0.block_sparse_moe.experts.3.w1.weight",
]


@pytest.mark.parametrize("key", TOO_MANY)
def test_a_weight_too_many_is_refused_by_name(tmp_path, key):
    args = tiny_args()
    more = random_weights(args) | {key: np.zeros((96, 64), np.float32)}
    assert f"unknown weights: {key}." in refused(write_folder(tmp_path, args, more))


def test_a_weight_that_stands_in_two_shards_is_refused(tmp_path):
    args = tiny_args()
    folder = write_folder(tmp_path, args, random_weights(args))
    mx.save_safetensors(str(folder / "model-2.safetensors"), {"model.norm.weight": mx.ones((64,))})
    assert "'model.norm.weight' stands in model-2.safetensors too" in refused(folder)


SHAPES = {
    "fewer rows": (f"{Q_PROJ}.weight", (16, 64)),
    "another width": (f"{V_PROJ}.weight", (16, 32)),
    "no dimension": (f"{K_PROJ}.weight", ()),
    "one dimension": (f"{Q_PROJ}.weight", (2048,)),
    "three dimensions": ("lm_head.weight", (50, 64, 1)),
    "nothing": ("model.norm.weight", (0,)),
    "another vocabulary": ("model.embed_tokens.weight", (51, 64)),
}


@pytest.mark.parametrize(("key", "shape"), SHAPES.values(), ids=SHAPES.keys())
def test_a_weight_of_the_wrong_shape_is_refused_with_both_shapes(tmp_path, key, shape):
    args = tiny_args()
    weights = random_weights(args)
    sentence = refused(write_folder(tmp_path, args, weights | {key: np.zeros(shape, np.float32)}))
    assert f"{tmp_path / 'model.safetensors'}: {key} has the shape {shape}" in sentence
    assert f"asks for {weights[key].shape}" in sentence


@pytest.mark.parametrize("dtype", [mx.int32, mx.uint8, mx.bool_, mx.uint32])
@pytest.mark.parametrize("key", [f"{K_PROJ}.weight", "model.norm.weight"])
def test_a_weight_of_a_wrong_type_is_refused_by_name(tmp_path, key, dtype):
    args = tiny_args()
    folder = write_folder(tmp_path, args, random_weights(args))
    arrays = dict(mx.load(str(folder / "model.safetensors")))
    mx.eval(arrays)
    mx.save_safetensors(str(folder / "model.safetensors"), arrays | {key: arrays[key].astype(dtype)})
    assert f"{key} has the type {str(dtype).split('.')[-1]}" in refused(folder)


def spoilt(arrays: dict[str, mx.array], kind: str) -> dict[str, mx.array]:
    """Quantized weights with one thing wrong about k_proj of the second layer."""
    weight, scales, biases = (arrays[f"{K_PROJ}.{part}"] for part in ("weight", "scales", "biases"))
    changes = {
        "no biases": {"biases": None},
        "no weight": {"weight": None},
        "packed in another type": {"weight": weight.astype(mx.int32)},
        "not packed": {"weight": mx.zeros((32, 64))},
        "scales in another type": {"scales": scales.astype(mx.int32)},
        "biases in another type": {"biases": biases.astype(mx.uint8)},
        "scales without dimensions": {"scales": mx.array(1.0)},
        "scales of one dimension": {"scales": scales[0]},
        "scales of no groups": {"scales": scales[:, :0], "biases": biases[:, :0]},
        "biases of another shape": {"biases": biases[:, :1]},
        "fewer rows": {"weight": weight[:-1], "scales": scales[:-1], "biases": biases[:-1]},
        "fewer rows of scales": {"scales": scales[:-1], "biases": biases[:-1]},
        "a group size of 16": {"scales": mx.repeat(scales, 2, 1), "biases": mx.repeat(biases, 2, 1)},
        "bits of 16": {"weight": mx.repeat(weight, 4, 1)},
        "a width that isn't the config's": {"weight": weight[:, :-1]},
        "a weight without dimensions": {"weight": weight[0, 0]},
    }
    spoilt = arrays | {f"{K_PROJ}.{part}": array for part, array in changes[kind].items()}
    return {name: array for name, array in spoilt.items() if array is not None}


SPOILT = [
    *("no biases", "no weight", "packed in another type", "not packed", "scales in another type"),
    *("biases in another type", "scales without dimensions", "scales of one dimension", "scales of no groups"),
    *("biases of another shape", "fewer rows", "fewer rows of scales", "a group size of 16", "bits of 16"),
    *("a width that isn't the config's", "a weight without dimensions"),
]


@pytest.mark.parametrize("kind", SPOILT)
def test_a_quantized_weight_that_fits_no_form_is_refused_by_name(tmp_path, any_memory, kind):
    args = tiny_args(hidden_dim=128, head_dim=16)
    folder = write_folder(tmp_path, args, {})
    arrays = spoilt(quantize(random_weights(args), 32, 4), kind)
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)
    assert K_PROJ in refused(folder)


def test_a_truncated_shard_is_refused_by_name(tmp_path):
    folder = write_folder(tmp_path, tiny_args(), random_weights(tiny_args()), shards=2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "model-00002-of-00002.safetensors is cut short" in refused(folder)


def test_a_folder_without_weights_and_an_index_without_its_shard_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(hub_config(tiny_args())))
    assert "lacks weights, such as model.safetensors" in refused(tmp_path)
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00009.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks model-00001-of-00009.safetensors, which model.safetensors.index.json lists" in refused(tmp_path)
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "not a .safetensors file of this folder" in refused(tmp_path)


def test_a_gguf_with_a_tensor_of_another_kind_is_refused(tmp_path):
    args = tiny_args()
    write_gguf(tmp_path / "good.gguf", args, random_weights(args))
    path = tmp_path / "m.gguf"
    embeddings = Tensor("token_embd.weight", (64, 50), 0, bytes(64 * 50 * 4))
    for name in ("blk.0.ffn_gate_exps.bias", "blk.0.attn_q.bias", "rope_freqs.bias", "blk.0.attn_q.scales"):
        path.write_bytes(gguf(gguf_entries(args), [embeddings, Tensor(name, (4,), 0, bytes(16))]))
        assert f"the tensor {name!r} doesn't belong" in refused(path)
    path.write_bytes(gguf(gguf_entries(args), [embeddings, Tensor("output.weight", (256,), 15, bytes(292))]))
    assert "output.weight is Q8_K, which no model file should be" in refused(path)


def test_a_gguf_whose_tensors_are_misshapen_is_refused(tmp_path):
    args, path = tiny_args(), tmp_path / "m.gguf"
    weights = random_weights(args)
    write_gguf(path, args, weights | {"model.layers.0.mlp.up_proj.weight": np.zeros((96, 32), np.float32)}, "Q4_0")
    assert "blk.0.ffn_up.weight" in refused(path)
    write_gguf(path, args, weights | {"model.norm.weight": np.zeros((32,), np.float32)}, "F16")
    assert "output_norm.weight has the shape (32,), but the config asks for (64,)" in refused(path)


def test_whatever_a_header_says_the_model_loads_or_a_sentence_says_why_not(tmp_path):
    """Mutated headers, a fixed number of them: bits flipped, bytes cut out, numbers and words exchanged."""
    args = tiny_args(n_layers=1, dim=32, hidden_dim=32, vocab_size=8)
    folder = write_folder(tmp_path, args, quantize(random_weights(args), 32, 4))
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, data = whole[8 : 8 + length], whole[8 + length :]
    draw = random.Random(5)
    words = [b"F32", b"U32", b"BF16", b"U8", b"[]", b"[0]", b"-1", b"1e9", b"null", b'"', b"{", b"}", b"4294967296"]
    outcomes = set()
    for _ in range(400):
        mutated = bytearray(header)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(mutated))
            kind = draw.randrange(4)
            if kind == 0:
                mutated[place] ^= 1 << draw.randrange(8)
            elif kind == 1:
                del mutated[place : place + draw.randint(1, 30)]
            elif kind == 2:
                mutated[place:place] = draw.choice(words)
            else:
                mutated[place : place + 3] = draw.choice(words)
        claimed = len(mutated) if draw.random() < 0.9 else draw.choice([0, 1, length - 1, length + 1, 1 << 63])
        path.write_bytes(struct.pack("<Q", claimed) + mutated + data)
        try:
            load_model(folder)
            outcomes.add("loaded")
        except ModelError as error:
            outcomes.add("refused with the path" if str(folder) in str(error) else str(error))
    assert outcomes <= {"loaded", "refused with the path"}
    assert "refused with the path" in outcomes
