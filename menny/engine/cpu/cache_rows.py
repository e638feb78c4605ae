"""Rows of a cache, as kernels write and read them: a token's keys, or values, of one head.

They are in float32, or in integers as arrays.py quantizes them.

Legend of shapes: D head_dim, T tokens.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from menny.engine.cpu.activations import float_of
from menny.engine.cpu.arrays import LARGEST, SCALE
from menny.engine.cpu.compiling import kernel, maths
from menny.engine.cpu.vectors import VectorBuilder, f32, floats, i16, i32, i64, ints, shorts


def _pointer_to(kind: Any) -> Any:
    """How to make a pointer of an address."""

    def lower(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], kind.as_pointer())

    return lower


@intrinsic
def floats_at(_: Any, place: Any) -> Any:
    """A pointer to float32 numbers at an address."""
    return types.CPointer(types.float32)(types.int64), _pointer_to(f32)


@intrinsic
def _bits_at(_: Any, place: Any) -> Any:
    """A pointer to 32-bit integers at an address."""
    return types.CPointer(types.int32)(types.int64), _pointer_to(i32)


@intrinsic
def _integers_at(_: Any, place: Any) -> Any:
    """A pointer to 16-bit integers at an address."""
    return types.CPointer(types.int16)(types.int64), _pointer_to(i16)


@kernel
def row_bytes(dim: int, quantized: bool) -> int:
    """Bytes of a token's keys, or values, of a head."""
    return 2 * (dim + SCALE) if quantized else 4 * dim


@kernel
def write_row(x: np.ndarray, place: int, quantized: bool) -> None:
    """Write a row of numbers to an address in a cache."""
    if quantized:
        _quantize(x, carray(_integers_at(place), len(x)), carray(floats_at(place + 2 * len(x)), 1))
    else:
        kept = carray(floats_at(place), len(x))
        for number in range(len(x)):
            kept[number] = x[number]


@maths
def _quantize(x: np.ndarray, whole: np.ndarray, scale: np.ndarray) -> None:
    """As arrays.py quantizes a row."""
    bits = carray(_bits_at(np.int64(x.ctypes.data)), len(x))
    largest = np.int32(0)  # its bits: NaN is the largest, then infinity
    for number in range(len(x)):
        largest = max(largest, bits[number] & np.int32(0x7FFFFFFF))
    most = float_of(np.int32(largest))
    factor = np.float32(LARGEST) / most if most > 0 else np.float32(0)
    for number in range(len(x)):
        whole[number] = np.int16(np.rint(x[number] * factor))
    scale[0] = most / np.float32(LARGEST) if most < np.inf else np.float32(np.nan)


@kernel
def dequantize(rows: int, seen: int, dim: int, whole: np.ndarray, scales: np.ndarray) -> None:
    """Read rows [T, D + 2] at an address: their whole numbers as float32 [T, D], and their scales [T]."""
    for token in range(seen):
        row = rows + token * row_bytes(dim, True)
        numbers = carray(_integers_at(row), dim)
        for number in range(dim):
            whole[token * dim + number] = numbers[number]
        scales[token] = carray(floats_at(row + 2 * dim), 1)[0]


class Rows:
    """How rows of keys or values lie in memory: as float32, or as 16-bit integers with their scale behind them."""

    def __init__(self, vectors: VectorBuilder, dim: Any, quantized: bool) -> None:
        build = vectors.builder
        self._vectors, self._dim, self._quantized = vectors, dim, quantized
        self._width = 2 if quantized else 4
        columns = build.add(dim, ir.Constant(i64, SCALE)) if quantized else dim
        self.nbytes = build.mul(columns, ir.Constant(i64, self._width))

    def at(self, base: Any, token: Any) -> Any:
        """The address of a token's row."""
        return self._vectors.builder.add(base, self._vectors.builder.mul(token, self.nbytes))

    def load(self, row: Any, column: Any, lanes: Any) -> Any:
        """Sixteen numbers from a column on, as float32; of the last ones, those in these lanes."""
        place = self._vectors.at(row, (column, self._width))
        if not self._quantized:
            return load_some(self._vectors, place, lanes)
        whole = load_some(self._vectors, place, lanes, shorts)
        return self._vectors.builder.sitofp(self._vectors.builder.sext(whole, ints), floats)

    def scaled(self, number: Any, row: Any) -> Any:
        """A number times the row's scale."""
        if not self._quantized:
            return number
        scale = self._vectors.load(f32, self._vectors.at(row, (self._dim, self._width)), align=2)
        return self._vectors.builder.fmul(number, scale)


def load_some(vectors: VectorBuilder, address: Any, lanes: Any, kind: Any = floats) -> Any:
    """Sixteen numbers at an address, or those in some lanes."""
    if lanes is None:
        return vectors.load(kind, address, align=4 if kind is floats else 2)
    return vectors.load_lanes(kind, address, lanes)
