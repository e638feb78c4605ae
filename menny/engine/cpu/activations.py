"""What becomes of a vector between two products: normed, gated, and written in 16-bit integers.

Legend of shapes: T tokens, K numbers a vector, G groups.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.arrays import LARGEST
from menny.engine.cpu.compiling import maths
from menny.engine.cpu.vectors import (
    EXP,
    HIGHEST,
    LN2,
    LOG2E,
    LOWEST,
    WIDTH,
    VectorBuilder,
    floats,
    i64,
    ints,
    shorts,
)

_ORDER = [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]  # of columns in the integers


class Vectors(NamedTuple):
    """Vectors to be multiplied, flat: x [T K], and as integers n [T K], with each group's scale u and sum v [T G]."""

    x: np.ndarray
    n: np.ndarray
    u: np.ndarray
    v: np.ndarray


@intrinsic
def float_of(_: Any, bits: Any) -> Any:
    """The float32 that these 32 bits stand for."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), lower


@maths
def exp(x: Any) -> Any:
    """e to the x: 2 to a whole number, and a polynomial for the rest (Cephes, expf)."""
    x = min(max(x, np.float32(LOWEST)), np.float32(HIGHEST)) if x == x else x
    whole = np.floor(x * np.float32(LOG2E) + np.float32(0.5))
    rest = x - whole * np.float32(LN2[0]) - whole * np.float32(LN2[1])
    power = np.float32(EXP[0])
    for factor in EXP[1:]:
        power = power * rest + np.float32(factor)
    return (power * rest * rest + rest + np.float32(1)) * float_of((np.int32(whole) + np.int32(127)) << np.int32(23))


@intrinsic
def gate(_: Any, a: Any, b: Any, out: Any) -> Any:
    """silu(a) b = a b / (1 + e^-a), of 16 numbers at each of these addresses."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        gated, factor = (vectors.load(floats, address, align=4) for address in args[:2])
        opening = builder.fadd(vectors.exp(builder.fneg(gated)), vectors.constant(1.0))
        vectors.store(builder.fdiv(builder.fmul(gated, factor), opening), args[2])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), lower


@maths
def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float, out: np.ndarray) -> None:
    """x / √(mean(x²) + ε) · w."""
    squares = np.float32(0)
    for place in range(len(x)):
        squares += x[place] * x[place]
    factor = np.float32(1) / np.sqrt(squares / np.float32(len(x)) + np.float32(eps))
    for place in range(len(x)):
        out[place] = x[place] * factor * weight[place]


@maths
def to_integers(x: np.ndarray, group: int, n: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    """Write a vector as u n, with n whole numbers up to 32767, u = max|x| / 32767 in each group and v the group's sum.

    Columns of every eight are written in the order 0 4 1 5 2 6 3 7, in which tiles multiply them.
    """
    for number in range(len(x) // group):
        numbers = np.int64(x.ctypes.data) + 4 * number * group
        most = float_of(_largest(numbers, group))
        factor = np.float32(LARGEST) / most if most > 0 else np.float32(0)
        total = _write_integers(numbers, group, factor, np.int64(n.ctypes.data) + 2 * number * group)
        u[number] = most / np.float32(LARGEST) if most < np.inf else np.float32(np.nan)
        v[number] = u[number] * np.float32(total)


@intrinsic
def _largest(_: Any, numbers: Any, count: Any) -> Any:
    """The bits of the largest |x| of these float32 numbers, a multiple of 16; NaN is the largest, then infinity."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        most = vectors.variable(vectors.zero(ints))
        with cgutils.for_range(builder, builder.sdiv(args[1], ir.Constant(i64, WIDTH))) as step:
            bits = vectors.load(ints, vectors.at(args[0], (step.index, 4 * WIDTH)), align=4)
            size = builder.and_(bits, ir.Constant(ints, [0x7FFFFFFF] * WIDTH))
            so_far = builder.load(most)
            builder.store(builder.select(builder.icmp_signed(">", size, so_far), size, so_far), most)
        return vectors.reduced("smax", builder.load(most))

    return types.int32(types.int64, types.int64), lower


@intrinsic
def _write_integers(_: Any, numbers: Any, count: Any, factor: Any, out: Any) -> Any:
    """Round numbers times a factor to 16-bit integers, in the tiles' order; returns their sum."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        by, total = vectors.splat(args[2]), vectors.variable(vectors.zero(ints))
        with cgutils.for_range(builder, builder.sdiv(args[1], ir.Constant(i64, WIDTH))) as step:
            x = vectors.load(floats, vectors.at(args[0], (step.index, 4 * WIDTH)), align=4)
            whole = builder.fptosi(vectors.rounded(builder.fmul(x, by)), ints)
            builder.store(builder.add(builder.load(total), whole), total)
            ordered = builder.shuffle_vector(whole, whole, ir.Constant(ints, _ORDER))
            vectors.store(builder.trunc(ordered, shorts), vectors.at(args[3], (step.index, 2 * WIDTH)), align=2)
        return vectors.reduced("add", builder.load(total))

    return types.int32(types.int64, types.int64, types.float32, types.int64), lower
