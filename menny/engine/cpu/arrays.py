"""The one gate to the kernels, which take an array's numbers as they lie in memory and know nothing of strides.

MLX's arrays may be transposed, sliced, repeated or broadcast, and NumPy's views of them are then too.
"""

from collections.abc import Iterable
from typing import Any

import mlx.core as mx
import numpy as np


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
