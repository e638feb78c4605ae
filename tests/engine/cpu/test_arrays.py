"""No array reaches the kernels crosswise: other strides are put in order, or refused."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from menny.engine.cpu.arrays import SCALE, address_of, check_order, dequantize_rows, in_order, quantize_rows
from menny.engine.cpu.kernels import packed_mistral
from menny.engine.cpu.matrix import pack, pack_quantized
from tests.engine.cpu.test_matrix import drawn

VIEWS: dict[str, Callable[[mx.array], mx.array]] = {
    "as it is": lambda x: x,
    "transposed": lambda x: x.swapaxes(-1, -2),
    "every second row": lambda x: x[..., ::2, :],
    "every second column": lambda x: x[..., ::2],
    "backwards": lambda x: x[..., ::-1, :],
    "a part": lambda x: x[..., 8:72, 32:96],
    "one row for all": lambda x: mx.broadcast_to(x[..., :1, :], x.shape),
    "from a transposed array of NumPy": lambda x: mx.array(np.array(x.astype(mx.float32)).swapaxes(-1, -2)).astype(
        x.dtype
    ),
}


def same(x: mx.array) -> mx.array:
    """The same numbers in an array whose strides are certain."""
    return mx.array(np.array(x.tolist(), np.float32)).astype(x.dtype)


@pytest.mark.parametrize("view", VIEWS)
def test_numbers_come_in_the_order_of_their_axes(view: str) -> None:
    x = VIEWS[view](drawn((3, 96, 128)))
    got = in_order(x)
    assert got.flags.c_contiguous
    assert got.tolist() == x.tolist()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("width", [2, 8, 80])
def test_rows_in_integers_are_off_by_a_part_of_their_largest(width: int, size: float) -> None:
    x = drawn((3, 5, width)) * size
    rows = quantize_rows(x)
    assert (rows.shape, rows.dtype) == ((3, 5, width + SCALE), mx.int16)
    error, most = (np.array(mx.abs(numbers)) for numbers in (dequantize_rows(rows) - x, x))
    assert (error <= 1.6e-5 * most.max(axis=-1, keepdims=True)).all()


def test_rows_of_zeros_stay_and_of_infinite_numbers_are_told() -> None:
    x = mx.array([[0.0, 0.0], [mx.inf, 1.0], [1.0, mx.nan], [-mx.inf, 0.0], [1.0, -1.0]])
    got = np.array(dequantize_rows(quantize_rows(x)))
    assert got[0].tolist() == [0, 0]
    assert np.isnan(got[1:4]).all()
    assert got[4].tolist() == [1, -1]


def test_an_array_in_another_order_is_refused() -> None:
    crosswise = np.zeros((3, 4)).T
    for args in ((crosswise,), (1, (np.zeros(3), (crosswise,))), (np.zeros(9)[::2],)):
        with pytest.raises(ValueError, match="strides"):
            check_order(args)
    with pytest.raises(ValueError, match="strides"):
        address_of(crosswise)
    assert address_of(np.zeros(3)) > 0


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", [mx.float32, mx.bfloat16])
def test_weights_and_vectors_with_any_strides(view: str, kind: mx.Dtype) -> None:
    pytest.importorskip("numba")
    if packed_mistral() is None:
        pytest.skip("there are no kernels here")
    from menny.engine.cpu.modules import PackedEmbedding, PackedFeedForward, PackedLinear  # noqa: PLC0415
    from menny.engine.cpu.pool import Pool  # noqa: PLC0415

    pool, weight, n = Pool(2), VIEWS[view](drawn((96, 128), kind)), 5
    width = weight.shape[-1]
    x = VIEWS[view](drawn((max(192, 2 * width), max(192, 2 * width)), seed=1))[:n, :width]
    plain = PackedLinear(pack(same(weight)), pool)(same(x))
    assert mx.array_equal(PackedLinear(pack(weight), pool)(x), plain)
    assert mx.array_equal(PackedLinear(pack(weight), pool)(x[None].swapaxes(0, 1)), plain[:, None])
    tokens = mx.arange(12).reshape(3, 4).swapaxes(0, 1)
    assert mx.array_equal(PackedEmbedding(pack(weight), pool)(tokens), same(weight).astype(mx.float32)[tokens])
    crosswise = pack(weight.swapaxes(-1, -2)), pack(same(weight).swapaxes(-1, -2))
    gates = [
        PackedFeedForward(pack(w), down, pack(w), pool)
        for w, down in zip((weight, same(weight)), crosswise, strict=True)
    ]
    assert mx.array_equal(gates[0](x), gates[1](same(x)))
    if width % 32 == 0:
        parts = mx.quantize(same(weight), 32, 4)
        strided = [part.swapaxes(-1, -2) for part in map(mx.contiguous, (part.swapaxes(-1, -2) for part in parts))]
        packed = PackedLinear(pack_quantized(*strided, 32, 4), pool)
        assert mx.array_equal(packed(x), PackedLinear(pack_quantized(*parts, 32, 4), pool)(same(x)))
