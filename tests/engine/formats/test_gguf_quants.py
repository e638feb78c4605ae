"""ggml's blocks mean what llama.cpp's own package says, to the last bit, and models in them are computed so."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
import pytest
from gguf import GGMLQuantizationType, dequantize, quantize

from menny.engine import Mistral, ModelArgs, MoEArgs, load_model
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.engine.checkpoints.quantization import BITS, expand, pack, unpack, widen
from menny.engine.formats.gguf import GGML_TYPES, read_gguf
from menny.engine.formats.gguf_quants import GROUPED
from menny.engine.formats.gguf_tensors import read_tensors
from menny.errors import ModelError
from tests.engine.formats import block_files
from tests.engine.gguf_files import Tensor, gguf
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import random_weights, tiny_args, write_gguf

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
NEW = ["Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
WITH_QUANTIZERS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
SPARSE = {"moe": MoEArgs(4, 2)}


def wide(**changes: Any) -> ModelArgs:
    """A model whose rows are blocks of 256."""
    return tiny_args(**{"dim": 256, "hidden_dim": 256, "n_heads": 8, "head_dim": 32, **changes})


def as_q4_k_m(name: str) -> str:
    """The types that a file called Q4_K_M has: what matters most in 6 bits, in some layers."""
    if "gate.weight" in name:
        return "F32"
    return "Q6_K" if "lm_head" in name or re.search(r"layers\.1.*(v_proj|down_proj|w2)", name) else "Q4_K"


def logits(model: Mistral) -> np.ndarray:
    return np.array(model(mx.array([TOKENS]))[0][0].astype(mx.float32))


def read(path: Path, shape: tuple[int, ...], kind: str, data: bytes) -> dict[str, mx.array]:
    number = next(number for number, known in GGML_TYPES.items() if known.name == kind)
    path.write_bytes(gguf([], [Tensor("before", (8,), 0, bytes(32)), Tensor("w", shape[::-1], number, data)]))
    return dict(read_tensors(read_gguf(path), {"w"}))["w"]


def meant(arrays: dict[str, mx.array], kind: str) -> np.ndarray:
    form = GROUPED[kind].group, GROUPED[kind].bits
    if GROUPED[kind].has_biases:
        return np.array(expand((arrays["weight"], arrays["scales"], arrays["biases"]), form))
    scales = np.array(arrays["scales"].astype(mx.float32))
    zero = 1 << GROUPED[kind].bits - 1
    assert np.array_equal(np.array(arrays["biases"].astype(mx.float32)), -zero * scales)
    numbers = unpack(np.array(arrays["weight"]), GROUPED[kind].bits).astype(np.int16) - np.int16(zero)
    return (numbers.reshape(*scales.shape, -1) * scales[..., None]).astype(np.float32).reshape(numbers.shape)


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("shape", [(6, 512), (3, 5, 256)])
def test_blocks_mean_what_llama_cpp_says_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shape: tuple[int, ...]
) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    data, truth, _ = block_files.encode(weight, kind)
    for piece in (256, 1024, 1 << 20):
        monkeypatch.setattr("menny.engine.formats.gguf_tensors.PIECE", piece)
        assert np.array_equal(meant(read(tmp_path / "m.gguf", shape, kind, data), kind), truth)
    assert 0.01 < truth.std() < 0.1


@pytest.mark.parametrize("kind", WITH_QUANTIZERS)
def test_what_llama_cpp_quantizes_is_read_as_it_reads_it(tmp_path: Path, kind: str) -> None:
    weight = np.random.default_rng(1).standard_normal((7, 256)).astype(np.float32)
    data = quantize(weight, GGMLQuantizationType[kind])
    got = meant(read(tmp_path / "m.gguf", weight.shape, kind, data.tobytes()), kind)
    assert np.abs(got - dequantize(data, GGMLQuantizationType[kind])).max() < 1e-6
    assert np.abs(got - weight).max() < 0.5


@pytest.mark.parametrize("kind", list(GROUPED))
def test_any_bits_are_numbers_and_no_noise_is_made_of_it(tmp_path: Path, kind: str) -> None:
    nbytes = next(known.nbytes for known in GGML_TYPES.values() if known.name == kind)
    data = np.random.default_rng(2).integers(0, 256, 256 * nbytes, np.uint8).tobytes()
    width = 256 * next(known.block for known in GGML_TYPES.values() if known.name == kind)
    assert read(tmp_path / "m.gguf", (width,), kind, data)["weight"].size > 0


def test_ctrl_c_within_a_tensor_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("menny.engine.formats.gguf_tensors.pack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path / "m.gguf", (2, 32), "Q4_0", bytes(36))


@pytest.mark.parametrize("bits", BITS)
def test_numbers_are_packed_as_mlx_packs_them(bits: int) -> None:
    numbers = np.random.default_rng(3).integers(0, 1 << bits, (9, 32), np.uint8)
    packed = mx.array(pack(numbers, bits).view(np.uint32))
    ones, zeros = mx.ones((9, 1)), mx.zeros((9, 1))
    assert np.array_equal(np.array(mx.dequantize(packed, ones, zeros, 32, bits)), numbers)
    assert np.array_equal(unpack(np.array(packed), bits), numbers)


@pytest.mark.parametrize(
    ("form", "wide"), [((64, 4), (32, 8)), ((128, 3), (32, 4)), ((32, 5), (16, 8)), ((64, 2), (64, 6))]
)
def test_a_wider_form_means_the_same(form: tuple[int, int], wide: tuple[int, int]) -> None:
    parts = mx.quantize(mx.array(np.random.default_rng(4).standard_normal((3, 5, 256)).astype(np.float32)), *form)
    assert mx.array_equal(expand(widen(parts, form, wide), wide), expand(parts, form))


@pytest.mark.parametrize("changes", [{}, SPARSE, {"tie_word_embeddings": True, "sliding_window": 6}], ids=str)
@pytest.mark.parametrize("kind", [*NEW, as_q4_k_m], ids=[*NEW, "Q4_K_M"])
def test_a_model_in_any_of_them_has_the_logits_of_what_its_blocks_mean(
    tmp_path: Path, kind: Any, changes: dict[str, Any]
) -> None:
    args = wide(**changes)
    weights = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    truth = logits_of(args, weights, TOKENS)
    assert np.abs(logits(load_model(tmp_path / "m.gguf")) - truth).max() < 1e-4 * np.abs(truth).max()


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "Q6_K"])
def test_convert_writes_what_the_blocks_mean(tmp_path: Path, kind: str) -> None:
    args = wide()
    write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    expected = logits(load_model(tmp_path / "m.gguf"))
    convert(tmp_path / "m.gguf", tmp_path / "plain", QuantizationConfig("float32"))
    assert np.abs(logits(load_model(tmp_path / "plain")) - expected).max() < 1e-4 * np.abs(expected).max()
    convert(tmp_path / "m.gguf", tmp_path / "small", QuantizationConfig("float32", 8, 32))
    assert np.abs(logits(load_model(tmp_path / "small")) - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("number", "name"), [(20, "IQ4_NL"), (23, "IQ4_XS"), (16, "IQ2_XXS"), (34, "TQ1_0"), (99, "99")]
)
def test_other_types_are_refused_by_name_with_what_to_get_instead(tmp_path: Path, number: int, name: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf([], [Tensor("output.weight", (256,), number, bytes(1 << 10))]))
    with pytest.raises(ModelError, match=rf"'output.weight' as .*{name}.*Get the same model in Q4_K_M"):
        read_gguf(path)


@pytest.mark.parametrize("kind", NEW)
def test_a_row_that_blocks_dont_divide_or_that_the_file_doesnt_hold_is_refused(tmp_path: Path, kind: str) -> None:
    number, known = next(item for item in GGML_TYPES.items() if item[1].name == kind)
    path = tmp_path / "m.gguf"
    for width, held in ((known.block + 16, 2 * known.nbytes), (2 * known.block, 2 * known.nbytes - 1)):
        path.write_bytes(gguf([], [Tensor("w", (width,), number, bytes(held))]))
        with pytest.raises(ModelError, match=r"can't divide|cut short"):
            read_gguf(path)


@pytest.fixture
def no_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the expanded weights don't fit."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))


@pytest.mark.parametrize("changes", [{}, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", [*NEW, as_q4_k_m], ids=[*NEW, "Q4_K_M"])
def test_where_memory_is_short_a_model_stays_small_and_says_the_same(
    tmp_path: Path, no_free_memory: None, kind: Any, changes: dict[str, Any]
) -> None:
    args = wide(**changes)
    weights = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    model = load_model(tmp_path / "m.gguf")
    assert sum(model.weight_sizes.values()) < 0.4 * 4 * args.n_parameters
    truth = logits_of(args, weights, TOKENS)
    if not args.moe:  # at a near tie, a gate chooses another expert
        assert np.abs(logits(model) - truth).max() < 2e-4 * np.abs(truth).max()


@pytest.mark.parametrize("kind", ["Q6_K", as_q4_k_m], ids=["Q6_K", "Q4_K_M"])
def test_without_kernels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    args = wide()
    weights = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    truth = logits_of(args, weights, TOKENS)
    model = load_model(tmp_path / "m.gguf", pack=False)
    assert np.abs(logits(model) - truth).max() < 1e-4 * np.abs(truth).max()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    model = load_model(tmp_path / "m.gguf", pack=False)
    assert sum(model.weight_sizes.values()) < 0.4 * 4 * args.n_parameters
    assert np.abs(logits(model) - truth).max() < 0.02 * np.abs(truth).max()


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K", "Q8_0", "F16", "BF16", "F32"])
def test_on_a_gpu_all_plain_numbers_of_a_gguf_are_of_one_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    args = wide()
    weights = write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    monkeypatch.setattr(
        "menny.engine.checkpoints.load.mx.default_device", lambda: SimpleNamespace(type=mx.DeviceType.gpu)
    )
    model = load_model(tmp_path / "m.gguf")
    types = {array.dtype for _, array in nn.utils.tree_flatten(model.parameters())} - {mx.uint32}
    assert types == {{"BF16": mx.bfloat16, "F32": mx.float32}.get(kind, mx.float16)}
    truth = logits_of(args, weights, TOKENS)
    assert np.abs(logits(model) - truth).max() < 0.05 * np.abs(truth).max()
