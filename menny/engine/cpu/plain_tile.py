"""The tile of a matrix of plain numbers: 16 rows times one vector, or four of them at once, which read the matrix once.

    y[t, r] = sum over columns k of  w[r, k] x[t, k]

Weights in bfloat16 and float16 become float32 in a register. Every fourth column is summed apart, and the four sums in
one order, whichever vectors share the tile.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.memory import LINE
from menny.engine.cpu.tiles import AHEAD_OF_SEVERAL, TOKENS, UNROLLED, Generate, typed
from menny.engine.cpu.vectors import WIDTH, VectorBuilder, f32, floats, halves, i64, ints, shorts


def _plain(kind: str, tokens: int) -> Generate:
    nbytes = 4 if kind == "float32" else 2

    def generate(vectors: VectorBuilder, args: Any) -> None:
        build = vectors.builder
        weights, *_, x, _, _, width, y, step = args
        sums = [[vectors.variable(vectors.zero(floats)) for _ in range(UNROLLED)] for _ in range(tokens)]
        with cgutils.for_range(build, build.sdiv(width, ir.Constant(i64, UNROLLED))) as four:
            for unrolled in range(UNROLLED):
                column = build.add(build.mul(four.index, ir.Constant(i64, UNROLLED)), ir.Constant(i64, unrolled))
                place = vectors.at(weights, (column, WIDTH * nbytes))
                if tokens > 1 and unrolled * WIDTH * nbytes % LINE == 0:
                    vectors.fetch(vectors.at(place, (AHEAD_OF_SEVERAL, 1)), level=2)
                weight = _as_floats(vectors, kind, place)
                for token in range(tokens):
                    number = vectors.load(f32, vectors.at(x, (column, 4), (width, 4 * token)), align=4)
                    vectors.add_product(weight, vectors.splat(number), sums[token][unrolled])
        for token, (a, b, c, d) in enumerate(sums):
            low, high = build.fadd(build.load(a), build.load(b)), build.fadd(build.load(c), build.load(d))
            vectors.store(build.fadd(low, high), vectors.at(y, (step, 4 * token)))

    return generate


def _as_floats(vectors: VectorBuilder, kind: str, address: Any) -> Any:
    build = vectors.builder
    if kind == "float32":
        return vectors.load(floats, address, align=4)
    if kind == "float16":
        return build.fpext(vectors.load(halves, address), floats)
    high = build.shl(build.zext(vectors.load(shorts, address), ints), ir.Constant(ints, [16] * WIDTH))
    return build.bitcast(high, floats)


@intrinsic
def _bfloat16(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_plain("bfloat16", 1))


def bfloat16(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _bfloat16(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _bfloat16_of_four(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_plain("bfloat16", TOKENS))


def bfloat16_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _bfloat16_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _float16(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_plain("float16", 1))


def float16(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _float16(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _float16_of_four(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_plain("float16", TOKENS))


def float16_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _float16_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _float32(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_plain("float32", 1))


def float32(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _float32(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _float32_of_four(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_plain("float32", TOKENS))


def float32_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _float32_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)
