"""The sparse mixture of experts is the paper's: each token through its best experts, weighted by softmax over these."""

from dataclasses import replace
from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
import pytest
from mlx_lm.utils import load_model as load_in_mlx_lm

from menny.engine import Mistral, load_model, load_tokenizer, moe
from menny.engine.args import MoEArgs
from menny.engine.checkpoints.export import export_folder
from menny.engine.moe import Layout
from tests.engine.format_files import stacked
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import Weights, built, quantize, random_weights, tiny_args, write_folder

TOKENS = np.random.default_rng(7).integers(0, 50, 40).tolist()


def logits(model: Mistral, tokens: list[int] = TOKENS) -> np.ndarray:
    return np.array(model(mx.array([tokens]))[0][0])


INTEGERS = 1e-4  # quantized weights are multiplied with activations in 16-bit integers


def close(got: np.ndarray, truth: np.ndarray, tolerance: float = 1e-5) -> bool:
    return bool(np.abs(got - truth).max() < tolerance * np.abs(truth).max())


@pytest.mark.parametrize("block", [1, 3, 16])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 40])  # around the 64 rows from which they are sorted
@pytest.mark.parametrize("experts", [MoEArgs(8, 2), MoEArgs(3, 1), MoEArgs(2, 2), MoEArgs(1, 1)], ids=str)
def test_logits_are_those_of_a_plain_computation_token_by_token(monkeypatch, experts, length, block):
    monkeypatch.setattr(moe, "CPU_BLOCK", block)
    args = tiny_args(moe=experts)
    weights = random_weights(args)
    assert close(logits(built(args, weights), TOKENS[:length]), logits_of(args, weights, TOKENS[:length]))


def test_rows_of_a_batch_dont_mix_and_tokens_one_by_one_give_the_same():
    args = tiny_args(moe=MoEArgs(8, 2))
    model = built(args, random_weights(args))
    batch = [TOKENS[:20], TOKENS[20:]]
    together = np.array(model(mx.array(batch))[0])
    for row, tokens in zip(together, batch, strict=True):
        cache = model.make_cache()
        steps = [np.array(model(mx.array([[token]]), cache)[0][0, 0]) for token in tokens]
        assert np.abs(row - logits(model, tokens)).max() < 1e-5
        assert np.abs(row - np.stack(steps)).max() < 1e-5


def test_equal_experts_are_one_dense_feed_forward():
    sparse = tiny_args(moe=MoEArgs(8, 2))
    dense = replace(sparse, moe=None)
    weights = random_weights(dense)
    upcycled: Weights = {name: weight for name, weight in weights.items() if ".mlp." not in name}
    names = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
    for layer in range(dense.n_layers):
        module = f"model.layers.{layer}"
        gate = np.random.default_rng(layer).standard_normal((8, dense.dim))
        upcycled[f"{module}.block_sparse_moe.gate.weight"] = gate.astype(np.float32)
        for expert in range(8):
            for ours, theirs in names.items():
                copy = weights[f"{module}.mlp.{theirs}.weight"]
                upcycled[f"{module}.block_sparse_moe.experts.{expert}.{ours}.weight"] = copy
    assert np.abs(logits(built(sparse, upcycled)) - logits(built(dense, weights))).max() < 1e-5


SPREADS = [[1], [5] * 70, [0, 7] * 40, [*range(8)] * 9, np.random.default_rng(0).integers(0, 8, 99).tolist()]


@pytest.mark.parametrize("spread", SPREADS, ids=lambda spread: f"{len(set(spread))} experts, {len(spread)} rows")
def test_a_layout_gives_every_row_a_place_of_its_own_in_a_block_of_its_expert(spread):
    experts = mx.array(spread, mx.uint32)
    layout = Layout.of(experts, 8)
    places, owners = np.array(layout.positions), np.array(layout.experts)
    assert len(set(places.tolist())) == experts.size
    assert np.array_equal(owners[places // layout.block], np.array(experts))
    assert np.all(np.diff(owners) >= 0)
    assert owners.max() < 8


@pytest.mark.parametrize("names", ["apart", "stacked"])
@pytest.mark.parametrize("memory", ["plenty", "little"])
@pytest.mark.parametrize(("group_size", "bits"), [(32, 4), (64, 8)])
def test_quantized_experts_with_a_plain_gate_give_the_logits_of_what_they_stand_for(
    tmp_path, monkeypatch, group_size, bits, memory, names
):
    if memory == "little":
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    args = tiny_args(hidden_dim=128, head_dim=16, moe=MoEArgs(4, 2))
    weights = random_weights(args)
    written = quantize(weights, group_size, bits, only=lambda name: "moe.gate" not in name)
    meant = {}
    for name in weights:
        parts = [written.get(name.removesuffix("weight") + kind) for kind in ("weight", "scales", "biases")]
        dense = parts[0] if parts[1] is None else mx.dequantize(*parts, group_size, bits)
        meant[name] = np.array(dense)
    if names == "stacked":
        written = stacked(args, {name: np.array(weight) for name, weight in written.items()})
    model = load_model(write_folder(tmp_path, args, written))
    assert close(logits(model), logits_of(args, meant, TOKENS), INTEGERS)
    assert close(logits(model, TOKENS[:3]), logits_of(args, meant, TOKENS[:3]), INTEGERS)
    assert model.packed["layers.0.feed_forward.gate"].bits == 32
    assert model.packed["layers.0.feed_forward.experts.w1"].bits == bits


def test_bits_may_differ_among_experts(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    args = tiny_args(hidden_dim=128, head_dim=16, moe=MoEArgs(2, 1))
    weights = random_weights(args)
    mixed = quantize(weights, 32, 8, only=lambda name: ".experts.1." in name)
    meant = {name: np.array(mx.array(weight)) for name, weight in weights.items()}
    for name in weights:
        if ".experts.1." in name:
            stem = name.removesuffix("weight")
            meant[name] = np.array(mx.dequantize(*(mixed[stem + k] for k in ("weight", "scales", "biases")), 32, 8))
    assert close(logits(load_model(write_folder(tmp_path, args, mixed))), logits_of(args, meant, TOKENS))


def test_a_random_sparse_model_can_be_called_as_it_is():
    args = tiny_args(moe=MoEArgs(8, 2))
    model = Mistral(args)
    batch, cache = model(mx.array([TOKENS, TOKENS]))
    assert batch.shape == (2, 40, args.vocab_size)
    assert cache.offset == 40
    assert args.n_parameters == sum(array.size for _, array in nn.utils.tree_flatten(model.parameters()))


@pytest.mark.parametrize("memory", ["plenty", "little"])
def test_an_exported_sparse_model_is_the_same_here_and_in_mlx_lm(tmp_path, monkeypatch, memory):
    args = tiny_args(hidden_dim=128, head_dim=16, moe=MoEArgs(4, 2))
    arrays = quantize(random_weights(args), 32, 4, only=lambda name: "moe.gate" not in name)
    with monkeypatch.context() as machine:
        if memory == "little":
            machine.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
        model = load_model(write_folder(tmp_path / "a", args, arrays))
    truth = logits(model)
    export_folder(model, tmp_path / "b")
    assert close(logits(load_model(tmp_path / "b")), truth)
    peer, _ = load_in_mlx_lm(tmp_path / "b")
    assert close(np.array(peer(mx.array([TOKENS]))[0]), truth, INTEGERS)


def upcycled(model: Mistral, experts: MoEArgs) -> Mistral:
    """A dense model with its feed-forward copied to every expert, and a random gate that picks among them."""
    sparse = Mistral(replace(model.args, moe=experts))
    weights = {}
    for name, weight in nn.utils.tree_flatten(model.parameters()):
        if ".feed_forward." in name:
            copies = mx.repeat(weight[None], experts.num_experts, axis=0)
            weights[name.replace("feed_forward", "feed_forward.experts")] = copies
        else:
            weights[name] = weight
    for layer in range(model.args.n_layers):
        gate = mx.random.normal((experts.num_experts, model.args.dim), key=mx.random.key(layer))
        weights[f"layers.{layer}.feed_forward.gate.weight"] = gate
    sparse.load_weights(list(weights.items()))
    mx.eval(sparse.parameters())
    return sparse


@pytest.mark.slow
def test_the_model_that_comes_along_with_eight_equal_experts_says_the_same(smollm2_path):
    dense = load_model(smollm2_path, pack=False)
    prompt = load_tokenizer(smollm2_path).encode(
        "Once upon a time there was a river, and by the river stood a mill. " * 3
    )

    def greedy(model: Mistral) -> list[int]:
        reply, cache, tokens = [], model.make_cache(), prompt
        for _ in range(20):
            scores, cache = model(mx.array([tokens]), cache)
            tokens = [int(mx.argmax(scores[0, -1]))]
            reply += tokens
        return reply

    assert greedy(upcycled(dense, MoEArgs(8, 2))) == greedy(dense)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_mlx_lm_on_the_same_folder(tmp_path, tied):
    args = tiny_args(head_dim=16, tie_word_embeddings=tied, moe=MoEArgs(8, 2), rope_theta=1e6)
    folder = write_folder(tmp_path, args, random_weights(args))
    peer, _ = load_in_mlx_lm(folder)
    theirs = np.array(peer(mx.array([TOKENS]))[0])
    assert close(logits(load_model(folder)), theirs)
