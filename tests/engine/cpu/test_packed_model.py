"""A packed model says what MLX says of the expanded weights, however its tokens are put to it."""

from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import Mistral, load_model
from menny.engine.args import MoEArgs
from menny.engine.benchmarks.verify import verify_model
from menny.engine.cache import Cache
from menny.engine.checkpoints.checkpoint import open_model
from menny.engine.checkpoints.load import build_model
from menny.engine.cpu.arrays import SCALE, dequantize_rows
from menny.engine.cpu.kernels import packed_mistral
from menny.engine.decode import Decoding
from menny.engine.rope import QueryScaling, RopeScaling
from menny.engine.runtime import Runtime
from menny.engine.sampling import SamplingParams
from menny.errors import EngineError
from tests.engine.alone import each
from tests.engine.tiny_models import built, quantize, random_weights, tiny_args, write_folder

if packed_mistral() is None:
    pytest.skip("there are no kernels here", allow_module_level=True)

from menny.engine.cpu.block_runner import BlockRunner
from menny.engine.cpu.packed_model import PackedMistral

TOKENS = np.random.default_rng(3).integers(0, 50, 60).tolist()
MODELS: dict[str, dict[str, Any]] = {
    "dense": {},
    "odd widths": {"dim": 96, "hidden_dim": 160, "vocab_size": 53},
    "tied": {"tie_word_embeddings": True},
    "window": {"sliding_window": 16},
    "windows in some blocks": {"sliding_window": 16, "windowed_layers": (True, False)},
    "neighbours": {"rope_traditional": True},
    "scaled rotations": {"rope_scaling": RopeScaling("yarn", 4.0, 16, attention_factor=1.2)},
    "growing queries": {"query_scaling": QueryScaling(0.5, 16)},
    "sparse": {"moe": MoEArgs(8, 2)},
    "sparse with a window": {"moe": MoEArgs(3, 1), "sliding_window": 16},
}

PLAIN_ARGS: dict[str, Any] = {"rope_traditional": False, "rope_scaling": None, "query_scaling": None}


class Letters:
    """As much of a tokenizer as decoding needs."""

    vocab_size = 50


def load(tmp_path: Any, changes: dict[str, Any], bits: int | None) -> tuple[PackedMistral, Mistral]:
    """A model by kernels, and the same by MLX with its weights expanded."""
    args = tiny_args(**({"hidden_dim": 128, "head_dim": 16} | changes))
    weights: Any = random_weights(replace(args, rope_traditional=False))
    if bits:
        weights = quantize(weights, 32, bits, only=lambda name: ".gate." not in name)
    _, source = open_model(write_folder(tmp_path, replace(args, **PLAIN_ARGS), weights))
    packed = build_model(args, source, threads=2)
    plain = build_model(args, open_model(tmp_path)[1], pack=False)
    assert isinstance(packed, PackedMistral)
    return packed, plain


def in_chunks(model: Mistral, *lengths: int, cache: Cache | None = None) -> np.ndarray:
    start, logits = 0, []
    for length in lengths:
        part, cache = model(mx.array([TOKENS[start : start + length]]), cache)
        logits.append(np.array(part[0]))
        start += length
    return np.concatenate(logits)


@pytest.mark.parametrize("bits", [None, 4, 8])
@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_those_of_the_expanded_weights(tmp_path: Any, kind: str, bits: int | None) -> None:
    packed, plain = load(tmp_path, MODELS[kind], bits)
    truth = in_chunks(plain, 60)
    largest = np.abs(truth).max()
    for chunks in ([60], [30, *[1] * 30], [1, 2, 3, 4, 5, 15, 16, 14], [*[1] * 20, 40], [15, 1, 1, 9, 1, 16, 17]):
        assert np.abs(in_chunks(packed, *chunks) - truth).max() < 1e-3 * largest, chunks


@pytest.mark.parametrize("bits", [None, 4, 8])
@pytest.mark.parametrize("kind", ["dense", "odd widths", "growing queries", "sparse"])
def test_logits_are_the_same_to_the_bit_whichever_tokens_share_a_pass(
    tmp_path: Any, kind: str, bits: int | None
) -> None:
    packed, _ = load(tmp_path, MODELS[kind], bits)
    one_by_one = in_chunks(packed, *[1] * 40)
    for chunks in ([1, 2, 3, 4, 5, 6, 7, 8, 4], [16, 3, 15, 1, 1, 4], [9, 10, 11, 10]):
        assert np.array_equal(in_chunks(packed, *chunks), one_by_one), chunks


@pytest.mark.parametrize("kind", ["dense", "odd widths", "window"])
def test_keys_and_values_of_a_quantized_model_are_kept_in_integers(tmp_path: Any, kind: str) -> None:
    packed, plain = load(tmp_path, MODELS[kind], 4)
    caches = packed.make_cache(), plain.make_cache()
    for model, cache in zip((packed, plain), caches, strict=True):
        for tokens in (TOKENS[:10], TOKENS[10:11]):  # a chunk and a single token
            model(mx.array([tokens]), cache)
    for rows, numbers in zip(*(cache.state for cache in caches), strict=True):
        kept, expected = np.array(dequantize_rows(rows[..., :11, :])), np.array(numbers[..., :11, :])
        assert np.abs(kept - expected).max() < 1e-3 * np.abs(expected).max()
    assert caches[0].nbytes / caches[1].nbytes == pytest.approx((16 + SCALE) / (2 * 16))


@pytest.mark.parametrize("kind", ["dense", "window", "sparse"])
def test_greedy_tokens_are_those_of_the_expanded_weights(tmp_path: Any, kind: str) -> None:
    for model in (pair := load(tmp_path, MODELS[kind], 4)):
        assert verify_model(model).agrees
    params = SamplingParams(temperature=0, max_tokens=40)
    replies = []
    for model in pair:
        cache = model.make_cache()
        model.prefill(mx.array([TOKENS[:19]]), cache)
        decoding = Decoding(Runtime(model, Letters()), cache, TOKENS[:20], params)
        tokens = each(model, decoding.tokens())
        replies.append([next(tokens) for _ in range(40)])
    assert replies[0] == replies[1]


@pytest.mark.parametrize("kind", ["dense", "window"])
def test_caches_that_part_dont_write_into_each_other(tmp_path: Any, kind: str) -> None:
    packed, plain = load(tmp_path, MODELS[kind], 4)
    truth = in_chunks(plain, 12)

    cache = packed.make_cache()
    packed(mx.array([TOKENS[:8]]), cache)
    other = cache.prefix(8)
    packed(mx.array([[7]]), other)
    packed(mx.array([[9]]), other.prefix(9))
    last = np.array(packed(mx.array([TOKENS[8:10]]), cache)[0][0])
    assert np.abs(last - truth[8:10]).max() < 1e-3 * np.abs(truth).max()
    rows = cache.broadcast(2)
    packed(mx.array([[5], [6]]), rows)
    cache.trim(9)
    last = np.array(packed(mx.array([TOKENS[9:12]]), cache)[0][0])
    assert np.abs(last - truth[9:]).max() < 1e-3 * np.abs(truth).max()


def test_a_batch_goes_through_the_modules(tmp_path: Any) -> None:
    packed, plain = load(tmp_path, {}, 4)
    tokens = mx.array([TOKENS[:5], TOKENS[5:10]])
    got, truth = np.array(packed(tokens)[0]), np.array(plain(tokens)[0])
    assert np.abs(got - truth).max() < 1e-3 * np.abs(truth).max()


def test_logits_that_overflow_end_a_reply_with_a_sentence(tmp_path: Any) -> None:
    packed, _ = load(tmp_path, {}, 4)
    assert packed._runner is not None
    packed.packed["layers.1.attention.wo"].scales.fill(np.nan)
    decoding = Decoding(Runtime(packed, Letters()), packed.make_cache(), [1], SamplingParams(temperature=0))
    with pytest.raises(EngineError, match="overflowed"):
        next(each(packed, decoding.tokens()))


@pytest.mark.parametrize(("bits", "form"), [(2, "4 bits"), (3, "4 bits"), (5, "8 bits"), (6, "8 bits")])
def test_other_bits_are_multiplied_in_the_next_ones_that_have_a_kernel(tmp_path: Any, bits: int, form: str) -> None:
    args = tiny_args(hidden_dim=128, head_dim=16)
    folder = write_folder(tmp_path, args, quantize(random_weights(args), 32, bits))
    packed, plain = load_model(folder), load_model(folder, pack=False)
    assert {matrix.form for matrix in packed.packed.values()} == {form}
    truth = in_chunks(plain, 9)
    assert np.abs(in_chunks(packed, 9) - truth).max() < 1e-3 * np.abs(truth).max()


def test_a_model_with_matrices_that_no_kernel_takes_is_packed_in_part(tmp_path: Any) -> None:
    args = tiny_args(hidden_dim=126, head_dim=16)  # w2's rows can't be divided by 4
    folder = write_folder(tmp_path, args, random_weights(args))
    packed = load_model(folder)
    assert packed._runner is None
    assert "layers.0.attention.wqkv" in packed.packed
    assert np.abs(in_chunks(packed, 9) - in_chunks(load_model(folder, pack=False), 9)).max() < 1e-3


def test_a_few_tokens_of_one_sequence_take_one_call_for_all_blocks(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, _ = load(tmp_path, {"sliding_window": 16}, 4)
    calls = []
    runner = BlockRunner.__call__
    monkeypatch.setattr(BlockRunner, "__call__", lambda self, x, group: calls.append(len(x)) or runner(self, x, group))
    in_chunks(packed, 1, 12, 17, 3, 1, 1)
    assert calls == [1, 12, 1, 1]  # neither what is too long nor what wraps around the window


@pytest.mark.parametrize("prompt", range(1, 20))
def test_a_prompt_that_fills_the_window_is_gone_on_from_by_the_kernels(prompt: int) -> None:
    args = tiny_args(sliding_window=6)
    model = built(args, random_weights(args))
    tokens = mx.array([[(7 * i * i + 3) % args.vocab_size for i in range(prompt + 1)]])
    cache = model.make_cache()
    model.prefill(tokens[:, :-1], cache)
    after_prompt = np.array(model(tokens[:, -1:], cache)[0])[0, 0]
    at_once = np.array(model(tokens, model.make_cache())[0])[0, -1]
    np.testing.assert_allclose(after_prompt, at_once, rtol=0, atol=1e-4)
