"""Packing loses nothing: what is packed comes out to the bit."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine.cpu.matrix import can_pack, is_packable, pack, pack_quantized

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


@pytest.mark.parametrize(("kind", "nbytes"), [(mx.float16, 2), (mx.bfloat16, 2), (mx.float32, 4)])
def test_scales_take_no_more_room_than_they_need_to_be_exact(kind: mx.Dtype, nbytes: int) -> None:
    parts = mx.quantize(drawn((32, 128), kind), 64, 4)
    packed = pack_quantized(*parts, 64, 4)
    assert packed.nbytes == 32 * 128 // 2 + 2 * 32 * 2 * nbytes


def test_scales_beyond_float16_stay_exact_in_float32() -> None:
    weight, scales, biases = mx.quantize(drawn((16, 64)), 64, 4)
    scales = mx.array(np.full((16, 1), 1e-9, np.float32)).astype(mx.bfloat16)
    packed = pack_quantized(weight, scales, biases.astype(mx.bfloat16), 64, 4)
    assert mx.array_equal(packed.quantized()[1], scales)


def test_there_are_kernels_for_some_forms_only() -> None:
    assert can_pack((7, 96), 32, 4)
    assert not can_pack((7, 96), 32, 3)
    assert not can_pack((7, 96), 64, 4)
    assert not can_pack((7, 96), 16, 4)
    assert can_pack((7, 12))
    assert not can_pack((7, 13))
    assert is_packable(mx.zeros((2, 4)))
    assert not is_packable(mx.zeros((4,)))
    assert not is_packable(mx.zeros((2, 4), mx.int8))
