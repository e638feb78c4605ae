"""Every format, dense and sparse, is the same model, whoever's names and order of rows it has."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import psutil
import pytest

from menny.engine import Mistral, ModelArgs, SamplingParams, load_engine, load_model
from menny.engine.args import MoEArgs
from menny.engine.checkpoints.weight_names import BLOCK_SPARSE, HUB, REFERENCE
from menny.errors import ModelError
from menny.models.catalogue import model_at
from tests.engine.format_files import FORMATS, of_examples, reference_weights
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import (
    Weights,
    built,
    quantize,
    random_weights,
    tiny_args,
    write_folder,
    write_gguf,
    write_vocabulary,
)

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


INTEGERS = 1e-4  # quantized weights are multiplied with activations in 16-bit integers


def close(got: np.ndarray, truth: np.ndarray, tolerance: float = 1e-5) -> bool:
    return bool(np.abs(got - truth).max() < tolerance * np.abs(truth).max())


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_logits_of_a_plain_float64_computation(tmp_path, kind, changes):
    args = tiny_args(**changes)
    weights = random_weights(args)
    model = load_model(FORMATS[kind](tmp_path / "m", args, weights))
    assert model.args.moe == args.moe
    assert model.args.sliding_window == args.sliding_window
    assert close(logits(model), logits_of(args, weights, TOKENS))


QUANTIZED = ["hub", "weights.npz", "weights.N.npz", "weights.NN.safetensors"]


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_exports_give_the_logits_of_what_they_stand_for(tmp_path, kind):
    args = tiny_args(hidden_dim=128, head_dim=16, moe=MoEArgs(4, 2))
    weights = random_weights(args)
    ordered = weights if kind == "hub" else in_the_order_of_the_reference(args, weights)
    parts = quantize(ordered, 32, 4, only=lambda name: "moe.gate" not in name)
    meant = {name: dense(parts, name) for name in weights}
    folder = tmp_path / "m"
    if kind == "hub":
        write_folder(folder, args, parts, shards=3)
    else:
        renamed = {str(HUB.ours(name)): array for name, array in parts.items()}
        save(of_examples(folder, args), kind, renamed)
        args = replace(args, rope_traditional=True)
    expected = logits(built(args, meant))
    assert close(logits(load_model(folder)), expected, INTEGERS)


def dense(parts: dict[str, mx.array], name: str) -> np.ndarray:
    stem = name.removesuffix("weight")
    if f"{stem}scales" not in parts:
        return np.array(parts[name])
    return np.array(mx.dequantize(*(parts[stem + kind] for kind in ("weight", "scales", "biases")), 32, 4))


def in_the_order_of_the_reference(args: ModelArgs, weights: Weights) -> Weights:
    """The hub's names, the reference's order of rows."""
    return {HUB.theirs(name): weight for name, weight in reference_weights(args, weights).items()}


def save(folder: Path, kind: str, arrays: dict[str, mx.array]) -> None:
    names = sorted(arrays)
    parts = [names] if "N" not in kind else [names[::2], names[1::2]]
    for number, part in enumerate(parts):
        file = str(folder / kind.replace("NN", f"0{number}").replace("N", str(number)))
        chosen = {name: arrays[name] for name in part}
        mx.save_safetensors(file, chosen) if file.endswith("safetensors") else mx.savez(file, **chosen)


def test_whose_names_a_file_has_is_told_by_its_keys_not_by_its_own_name(tmp_path):
    args = tiny_args(moe=MoEArgs(4, 2))
    weights = random_weights(args)
    truth = logits_of(args, weights, TOKENS)
    hub = write_folder(tmp_path / "hub", args, weights)
    (hub / "model.safetensors").rename(hub / "weights.00.safetensors")
    assert close(logits(load_model(hub)), truth)
    original = FORMATS["consolidated.safetensors"](tmp_path / "original", args, weights)
    (original / "consolidated.safetensors").rename(original / "model.safetensors")
    assert close(logits(load_model(original)), truth)
    (hub / "params.json").write_text((original / "params.json").read_text())  # a repository that has both
    assert close(logits(load_model(hub)), truth)
    (original / "config.json").write_text((hub / "config.json").read_text())
    assert close(logits(load_model(original)), truth)


def test_a_folder_with_several_formats_is_read_once_the_hubs_first(tmp_path):
    args = tiny_args()
    folder = FORMATS["consolidated.00.pth"](tmp_path / "m", args, random_weights(args, seed=1))
    weights = random_weights(args)
    write_folder(folder, args, weights)
    assert close(logits(load_model(folder)), logits_of(args, weights, TOKENS))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if "gguf" not in kind])
def test_missing_extra_and_misshapen_weights_are_named_as_their_file_names_them(tmp_path, kind):
    args = tiny_args(moe=MoEArgs(4, 2), n_layers=1)
    good = random_weights(args)
    names = {"hub": HUB, "hub, experts stacked": HUB, "consolidated.NN.pt": BLOCK_SPARSE}.get(kind, REFERENCE)
    key = "model.layers.0.self_attn.k_proj.weight"
    shown = names.theirs(str(HUB.ours(key)))
    missing = FORMATS[kind](tmp_path / "a", args, {name: weight for name, weight in good.items() if name != key})
    assert f"missing weights: {shown}" in refusal(missing)
    gate = "model.layers.0.block_sparse_moe.gate.weight"
    misshapen = FORMATS[kind](tmp_path / "b", args, good | {gate: good[gate][:-1]})
    assert f"{names.theirs(str(HUB.ours(gate)))} has the shape (3, 64)" in refusal(misshapen)
    extra = FORMATS[kind](tmp_path / "c", args, good | {"model.layers.1.input_layernorm.weight": np.ones(64, "f4")})
    sentence = refusal(extra)
    assert f"unknown weights: {names.theirs('layers.1.attention_norm.weight')}" in sentence
    assert any(ending in sentence for ending in (".safetensors:", ".npz:", ".pth:", ".pt:"))


def test_a_stack_of_experts_with_rows_too_few_is_named(tmp_path):
    args = tiny_args(moe=MoEArgs(4, 2))
    key = "model.layers.1.block_sparse_moe.experts.3.w1.weight"
    weights = random_weights(args)
    folder = FORMATS["consolidated.NN.pt"](tmp_path / "m", args, weights | {key: weights[key][1:]})
    assert ".pt: layers.1.block_sparse_moe.w1 has the shape (383, 64), but the config asks for (4, 96, 64)" in refusal(
        folder
    )


def test_an_expert_that_is_missing_or_of_another_shape_is_named(tmp_path):
    args = tiny_args(moe=MoEArgs(4, 2))
    good = random_weights(args)
    key = "model.layers.1.block_sparse_moe.experts.3.w2.weight"
    fewer = {name: weight for name, weight in good.items() if name != key}
    assert f"missing weights: {key}" in refusal(write_folder(tmp_path / "a", args, fewer))
    assert f"{key} has the shape (64, 95)" in refusal(
        write_folder(tmp_path / "b", args, good | {key: good[key][:, 1:]})
    )
    more = good | {key.replace("experts.3", "experts.4"): good[key]}
    assert "unknown weights: model.layers.1.block_sparse_moe.experts.4.w2.weight" in refusal(
        write_folder(tmp_path / "c", args, more)
    )
    apart = FORMATS["gguf, experts apart"](tmp_path / "d", args, fewer)
    assert "missing weights: blk.1.ffn_down.3.weight" in refusal(apart)
    none = {name: weight for name, weight in good.items() if ".experts." not in name}
    assert "missing weights: blk.0.ffn_gate_exps.weight" in refusal(FORMATS["gguf"](tmp_path / "e", args, none))
    assert "experts.0.w1.weight" in refusal(write_folder(tmp_path / "f", args, none))


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_model(path)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("memory", ["plenty", "little"])
def test_a_sparse_gguf_of_any_type(tmp_path, monkeypatch, kind, stacked, memory):
    if memory == "little":
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    args = tiny_args(moe=MoEArgs(4, 2))
    meant = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind, stacked=stacked)
    assert close(logits(load_model(tmp_path / "m.gguf")), logits_of(args, meant, TOKENS), INTEGERS)


def test_a_folder_that_holds_one_gguf_stands_for_it(tmp_path):
    args = tiny_args()
    weights = random_weights(args)
    folder = tmp_path / "m"
    folder.mkdir()
    write_gguf(folder / "one.gguf", args, weights)
    assert close(logits(load_model(folder)), logits(load_model(folder / "one.gguf")))
    write_gguf(folder / "two.gguf", args, weights)
    assert "holds 2 .gguf files" in refusal(folder)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_catalogue_takes_every_format_for_a_whole_model(tmp_path, kind):
    place = FORMATS[kind](tmp_path / "m", tiny_args(), random_weights(tiny_args()))
    assert model_at(place) == place


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if "gguf" not in kind])
def test_an_engine_speaks_with_a_model_of_any_format(tmp_path, kind):
    args = tiny_args(vocab_size=259, max_position_embeddings=64, moe=MoEArgs(4, 2))
    folder = FORMATS[kind](tmp_path / "m", args, random_weights(args))
    write_vocabulary(folder)
    with load_engine(folder) as engine:
        chunks = list(engine.stream(engine.tokenizer.encode("Hello"), SamplingParams(max_tokens=3, temperature=0)))
    assert chunks[-1].completion_tokens == 3
