"""Packing loses nothing: what is packed comes out to the bit."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine.checkpoints.quantization import expand
from menny.engine.cpu.matrix import can_pack, is_packable, pack, pack_quantized
from menny.engine.cpu.memory import LINE, Arena

TYPES = [mx.float32, mx.float16, mx.bfloat16]
GROUPS = [32, 64, 128]


def drawn(shape: tuple[int, ...], kind: mx.Dtype = mx.float32, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).astype(kind)


@settings(max_examples=40)
@given(rows=st.integers(1, 40), columns=st.integers(1, 10), kind=st.sampled_from(TYPES))
def test_plain_weights_come_out_as_they_went_in(rows: int, columns: int, kind: mx.Dtype) -> None:
    weight = drawn((rows, 4 * columns), kind)
    packed = pack(weight)
    assert mx.array_equal(packed.weights(), weight)
    assert packed.weights().dtype == kind
    assert packed.nbytes == weight.nbytes
    numbers = np.array([0, rows - 1, rows // 2])
    assert np.array_equal(packed.rows_at(numbers), np.array(weight.astype(mx.float32))[numbers])


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    groups=st.integers(1, 3),
    group=st.sampled_from(GROUPS),
    bits=st.sampled_from([4, 8]),
    kind=st.sampled_from(TYPES),
    stack=st.sampled_from([(), (3,)]),
)
def test_quantized_weights_come_out_as_they_went_in(
    rows: int, groups: int, group: int, bits: int, kind: mx.Dtype, stack: tuple[int, ...]
) -> None:
    parts = mx.quantize(drawn((*stack, rows, groups * group), kind), group, bits)
    packed = pack_quantized(*parts, group, bits)
    for part, before in zip(packed.quantized(), parts, strict=True):
        assert mx.array_equal(part, before)
        assert part.dtype == before.dtype
    if not stack:
        numbers = np.array([0, rows - 1, rows // 2])
        exact = mx.dequantize(parts[0], *(part.astype(mx.float32) for part in parts[1:]), group, bits)
        assert np.array_equal(packed.rows_at(numbers), np.array(exact)[numbers])


@pytest.mark.parametrize("bits", [2, 3, 5, 6])
@pytest.mark.parametrize("is_around_zero", [False, True])
def test_other_bits_stand_in_more_of_them_and_mean_the_same(bits: int, is_around_zero: bool) -> None:
    words, scales, biases = mx.quantize(drawn((2, 17, 128)), 64, bits)
    if is_around_zero:
        biases = scales * -(2 ** (bits - 1))
    packed = pack_quantized(words, scales, biases, 64, bits)
    assert packed.form == ("4 bits" if bits < 4 else "8 bits")
    assert packed.biases is None or not is_around_zero
    exact = mx.dequantize(words, scales, biases, 64, bits)
    again = mx.dequantize(*packed.quantized(), 64, packed.bits)
    assert mx.abs(again - exact).max() < 1e-6 * mx.abs(exact).max()


@pytest.mark.parametrize(("kind", "nbytes"), [(mx.float16, 2), (mx.bfloat16, 2), (mx.float32, 4)])
def test_scales_take_no_more_room_than_they_need_to_be_exact(kind: mx.Dtype, nbytes: int) -> None:
    parts = mx.quantize(drawn((32, 128), kind), 64, 4)
    packed = pack_quantized(*parts, 64, 4)
    assert packed.nbytes == 32 * 128 // 2 + 2 * 32 * 2 * nbytes


def in_units_and_steps(rows: int, blocks: int, group: int, low: int, high: int, seed: int = 5) -> mx.array:
    """Scales as a K-quant has them: a float16 for each 256 columns, times a small whole number for each group."""
    draw = np.random.default_rng(seed)
    units = draw.standard_normal((rows, blocks, 1)).astype(np.float16).astype(np.float32)
    steps = draw.integers(low, high, (rows, blocks, 256 // group), endpoint=True)
    return mx.array((units * steps).astype(np.float32).reshape(rows, -1))


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    blocks=st.integers(1, 3),
    form=st.sampled_from([(32, 4), (32, 8), (16, 8)]),
    steps=st.sampled_from([(0, 63), (-128, 127), (-32, 31), (0, 15), (0, 0), (63, 63)]),
    has_biases=st.booleans(),
)
def test_the_scales_of_k_quants_stay_as_small_as_in_their_files(
    rows: int, blocks: int, form: tuple[int, int], steps: tuple[int, int], has_biases: bool
) -> None:
    group, bits = form
    words = mx.quantize(drawn((rows, 256 * blocks)), 32, bits)[0]
    scales = in_units_and_steps(rows, blocks, group, *steps)
    biases = in_units_and_steps(rows, blocks, group, 0, 63, seed=6) if has_biases else scales * -(2 ** (bits - 1))
    packed = pack_quantized(words, scales, biases, group, bits)
    assert packed.scales is not None
    if packed.scales.dtype != np.float16:  # which some are exact in
        nbytes = rows * blocks * (256 // group + 4) * (1 if packed.biases is None else 2)
        assert packed.nbytes - words.nbytes == nbytes
    for part, before in zip(packed.quantized(), (words, scales, biases), strict=True):
        assert mx.array_equal(part, before)
    exact = expand((words, scales, biases), form)
    numbers = np.arange(rows)
    assert np.allclose(packed.rows_at(numbers), np.array(exact), rtol=0, atol=1e-6 * float(mx.abs(exact).max()))


def test_scales_that_are_no_multiples_of_a_unit_stay_as_they_are() -> None:
    words = mx.quantize(drawn((16, 256)), 32, 4)[0]
    scales = in_units_and_steps(16, 1, 32, 1, 63)
    for bad in (1 / 3, float("nan"), float("inf")):
        scales[3, 1] = bad
        packed = pack_quantized(words, scales, scales * 2, 32, 4)
        assert packed.scales is not None
        assert packed.scales.dtype == np.float32
        assert np.array_equal(np.array(packed.quantized()[1]), np.array(scales), equal_nan=True)


@pytest.mark.parametrize("bits", [4, 8])
def test_biases_that_follow_from_the_scales_arent_kept(bits: int) -> None:
    words, scales, biases = mx.quantize(drawn((40, 64), mx.float16), 32, bits)
    zero = -(2 ** (bits - 1))
    packed = pack_quantized(words, scales, scales * zero, 32, bits)
    assert packed.biases is None
    assert packed.nbytes == 40 * 64 * bits // 8 + 40 * 2 * 2
    assert mx.array_equal(packed.quantized()[2], scales * zero)
    exact = mx.dequantize(words, *(part.astype(mx.float32) for part in (scales, scales * zero)), 32, bits)
    assert np.array_equal(packed.rows_at(np.arange(40)), np.array(exact))
    biases[7, 1] = scales[7, 1]
    assert pack_quantized(words, scales, biases, 32, bits).biases is not None


def test_arrays_lie_behind_each_other_in_an_arena_and_begin_at_a_line_of_the_cache() -> None:
    arena, numbers = Arena(), np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    copies = [arena.copy(array) for array in (numbers, numbers.T, numbers[:, ::2, 1:4], numbers[:0])]
    for copy, array in zip(copies, (numbers, numbers.T, numbers[:, ::2, 1:4], numbers[:0]), strict=True):
        assert np.array_equal(copy, array)
        assert copy.flags.c_contiguous
        assert copy.ctypes.data % LINE == 0
    assert copies[1].ctypes.data - copies[0].ctypes.data == 256


def test_an_array_larger_than_what_is_free_gets_memory_of_its_own() -> None:
    arena = Arena()
    small, large = arena.copy(np.ones(8)), arena.copy(np.full(1 << 24, 7.0))
    assert small.all()
    assert (large[:: 1 << 16] == 7).all()


def test_scales_beyond_float16_stay_exact_in_float32() -> None:
    weight, scales, biases = mx.quantize(drawn((16, 64)), 64, 4)
    scales = mx.array(np.full((16, 1), 1e-9, np.float32)).astype(mx.bfloat16)
    packed = pack_quantized(weight, scales, biases.astype(mx.bfloat16), 64, 4)
    assert mx.array_equal(packed.quantized()[1], scales)


def test_there_are_kernels_for_some_forms_only() -> None:
    assert can_pack((7, 96), 32, 4)
    assert can_pack((7, 96), 32, 3)
    assert can_pack((7, 96), 16, 8)
    assert not can_pack((7, 96), 64, 4)
    assert not can_pack((7, 96), 16, 4)
    assert not can_pack((7, 96), 32, 7)
    assert can_pack((7, 12))
    assert not can_pack((7, 13))
    assert is_packable(mx.zeros((2, 4)))
    assert not is_packable(mx.zeros((4,)))
    assert not is_packable(mx.zeros((2, 4), mx.int8))
