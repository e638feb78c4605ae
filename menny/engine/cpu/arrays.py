"""The one gate to the kernels, which take an array's numbers as they lie in memory and know nothing of strides.

MLX's arrays may be transposed, sliced, repeated or broadcast, and NumPy's views of them are then too. Here is also the
form in which kernels read the keys and values of a quantized model: as rows of 16-bit integers.

Legend of shapes: D numbers a row.
"""

from collections.abc import Iterable
from typing import Any

import mlx.core as mx
import numpy as np

LARGEST = 32767  # of the integers in a row
SCALE = 2  # integers at a row's end, whose bits are its scale in float32


def in_order(array: mx.array) -> np.ndarray:
    """NumPy's view of an array, or a copy where its numbers don't lie in the order of its axes."""
    return np.ascontiguousarray(np.array(array, copy=False)).reshape(array.shape)


def address_of(array: np.ndarray) -> int:
    """Where an array begins. Raises ValueError where its numbers don't lie in the order of its axes."""
    check_order((array,))
    return array.ctypes.data


def check_order(args: Iterable[Any]) -> None:
    """Raise ValueError if an array among these, or among their parts, isn't in the order of its axes."""
    for arg in args:
        if isinstance(arg, tuple):
            check_order(arg)
        elif isinstance(arg, np.ndarray) and not arg.flags.c_contiguous:
            raise ValueError(f"an array of the shape {arg.shape} with the strides {arg.strides} came to the kernels")


def quantize_rows(x: mx.array) -> mx.array:
    """Write rows [..., D] as whole numbers and their scale, max|x| / 32767: int16 [..., D + 2].

    A number is off by 1.5e-5 of its row's largest at most. Rows with infinite numbers become NaN.
    """
    most = mx.abs(x).max(axis=-1, keepdims=True)
    whole = mx.round(x * mx.where(most > 0, LARGEST / most, 0)).astype(mx.int16)
    scale = mx.where(mx.isfinite(most), most / LARGEST, mx.nan)
    return mx.concatenate([whole, scale.astype(mx.float32).view(mx.int16)], axis=-1)


def dequantize_rows(rows: mx.array) -> mx.array:
    """The numbers of such rows, in float32 [..., D]."""
    scales = mx.contiguous(rows[..., -SCALE:]).view(mx.float32)
    return rows[..., :-SCALE].astype(mx.float32) * scales
