"""Products by kernels are those of the expanded weights, for every form and for odd sizes."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine.checkpoints.quantization import BITS, SMALL_GROUP, expand
from menny.engine.cpu.kernels import packed_mistral
from menny.engine.cpu.matrix import Packed, pack, pack_quantized
from tests.engine.cpu.test_matrix import GROUPS, TYPES, drawn, in_units_and_steps

if packed_mistral() is None:
    pytest.skip("there are no kernels here", allow_module_level=True)

from menny.engine.cpu.modules import PackedEmbedding, PackedFeedForward, PackedLinear
from menny.engine.cpu.pool import Pool

PLAIN, INTEGERS = 1e-5, 5e-5  # of the largest
POOLS = [Pool(1), Pool(3)]

pools = st.sampled_from(POOLS)
rows_of_x = st.sampled_from([1, 2, 3, 4, 5, 9])


def expanded(parts: list[mx.array], group: int, bits: int) -> mx.array:
    return mx.dequantize(parts[0], *(part.astype(mx.float32) for part in parts[1:]), group, bits)


def assert_product(packed: Packed, weight: mx.array, x: mx.array, pool: Pool, tolerance: float) -> None:
    got = np.array(PackedLinear(packed, pool)(x))
    vectors, rows = np.array(x, np.float64), np.array(weight.astype(mx.float32), np.float64)
    truth = vectors @ rows.T
    lengths = np.linalg.norm(vectors, axis=-1).max() * np.linalg.norm(rows, axis=-1).max()
    usual = 3 * lengths / np.sqrt(rows.shape[-1])  # the largest of many products, where these few may all be small
    assert got.shape == truth.shape
    assert np.abs(got - truth).max() <= tolerance * max(usual, np.abs(truth).max())
    one = np.array(PackedLinear(packed, POOLS[0])(x[..., -1:, :]))
    assert np.array_equal(one, got[..., -1:, :])  # whichever vectors and threads there are


@settings(max_examples=40)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), kind=st.sampled_from(TYPES), n=rows_of_x, pool=pools)
def test_plain_weights(rows: int, columns: int, kind: mx.Dtype, n: int, pool: Pool) -> None:
    weight = drawn((rows, 4 * columns), kind)
    assert_product(pack(weight), weight, drawn((2, n, 4 * columns), seed=1), pool, PLAIN)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    groups=st.integers(1, 3),
    group=st.sampled_from(GROUPS),
    bits=st.sampled_from(BITS),
    kind=st.sampled_from(TYPES),
    n=rows_of_x,
    pool=pools,
)
def test_quantized_weights(rows: int, groups: int, group: int, bits: int, kind: mx.Dtype, n: int, pool: Pool) -> None:
    parts = mx.quantize(drawn((rows, groups * group), kind), group, bits)
    packed = pack_quantized(*parts, group, bits)
    assert_product(packed, expanded(parts, group, bits), drawn((n, groups * group), seed=1), pool, INTEGERS)


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("has_biases", [False, True])
def test_groups_of_16_which_mlx_lacks(has_biases: bool, n: int) -> None:
    words, _, _ = mx.quantize(drawn((40, 96)), 32, 8)
    scales = drawn((40, 6), seed=2)
    parts = words, scales, drawn((40, 6), seed=3) if has_biases else -128 * scales
    packed = pack_quantized(*parts, SMALL_GROUP, 8)
    assert_product(packed, expand(parts, (SMALL_GROUP, 8)), drawn((n, 96), seed=1), POOLS[1], INTEGERS)


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("form", [(32, 4), (32, 8), (16, 8)])
@pytest.mark.parametrize("has_biases", [False, True])
def test_scales_in_units_and_steps(has_biases: bool, form: tuple[int, int], n: int) -> None:
    group, bits = form
    words = mx.quantize(drawn((40, 512)), 32, bits)[0]
    scales = in_units_and_steps(40, 2, group, -32, 31)
    parts = words, scales, in_units_and_steps(40, 2, group, 0, 63) if has_biases else scales * -(2 ** (bits - 1))
    packed = pack_quantized(*parts, *form)
    assert_product(packed, expand(parts, form), drawn((n, 512), seed=1), POOLS[1], INTEGERS)


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_whose_zero_is_in_the_middle(bits: int, n: int) -> None:
    words, scales, _ = mx.quantize(drawn((40, 128)), 32, bits)
    parts = [words, scales, scales * -(2 ** (bits - 1))]
    packed = pack_quantized(*parts, 32, bits)
    assert packed.biases is None
    assert_product(packed, expanded(parts, 32, bits), drawn((n, 128), seed=1), POOLS[1], INTEGERS)


@pytest.mark.parametrize("n", [1, 6])
def test_a_product_of_many_pieces(n: int) -> None:
    parts = mx.quantize(drawn((1000, 512)), 64, 4)
    assert_product(pack_quantized(*parts, 64, 4), expanded(parts, 64, 4), drawn((n, 512), seed=1), POOLS[1], INTEGERS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 5])
def test_numbers_that_overflow_are_told_from_others(bad: float, n: int) -> None:
    parts = mx.quantize(drawn((20, 64)), 32, 4)
    scales = np.array(parts[1])
    scales[3, 1] = bad
    packed = pack_quantized(parts[0], mx.array(scales), parts[2], 32, 4)
    product = np.array(PackedLinear(packed, POOLS[0])(drawn((n, 64), seed=1)))
    assert not np.isfinite(product[:, 3]).any()
    assert np.isfinite(np.delete(product, 3, axis=1)).all()
    x = np.array(drawn((n, 64), seed=1))
    x[0, 5] = bad
    for form in (packed, pack(drawn((20, 64)))):
        product = np.array(PackedLinear(form, POOLS[0])(mx.array(x)))
        assert not np.isfinite(product[0]).any()
        assert np.isfinite(np.delete(product[1:], 3, axis=1)).all()


def test_zeros_times_anything_are_zeros() -> None:
    packed = pack_quantized(*mx.quantize(drawn((20, 64)), 32, 8), 32, 8)
    assert not np.array(PackedLinear(packed, POOLS[0])(mx.zeros((3, 64)))).any()


@pytest.mark.parametrize("n", [1, 3, 21])
@pytest.mark.parametrize("bits", [4, 8, None])
@pytest.mark.parametrize("hidden", [96, 100])
def test_a_feed_forward(n: int, bits: int | None, hidden: int) -> None:
    weights = [drawn(shape, seed=seed) / 8 for seed, shape in enumerate([(hidden, 64), (64, hidden), (hidden, 64)])]
    packed = []
    for number, weight in enumerate(weights):
        if bits is None or weight.shape[-1] % 32:
            packed.append(pack(weight))
        else:
            parts = mx.quantize(weight, 32, bits)
            weights[number] = expanded(parts, 32, bits)
            packed.append(pack_quantized(*parts, 32, bits))
    x = np.array(drawn((n, 64), seed=9))
    w1, w2, w3 = (np.array(weight, np.float64) for weight in weights)
    gates = x @ w1.T
    truth = (gates / (1 + np.exp(-gates)) * (x @ w3.T)) @ w2.T
    for pool in POOLS:
        got = np.array(PackedFeedForward(*packed, pool)(mx.array(x)))
        assert np.abs(got - truth).max() < 2 * INTEGERS * np.abs(truth).max()


def test_an_embedding_gives_rows_and_the_product_with_all_of_them() -> None:
    parts = mx.quantize(drawn((50, 64)), 32, 4)
    table, embedding = expanded(parts, 32, 4), PackedEmbedding(pack_quantized(*parts, 32, 4), POOLS[0])
    tokens = mx.array([[3, 1, 49], [0, 3, 3]])
    assert mx.array_equal(embedding(tokens), table[tokens])
    x = drawn((1, 2, 64))
    assert mx.abs(embedding.as_linear(x) - x @ table.T).max().item() < 1e-2
