"""Tiles: 16 rows of a matrix times one vector, or four of them at once, which read the matrix once.

    quantized:  y[t, r] = sum over groups g of  s[r, g] u[t, g] (sum over columns k of g: q[r, k] n[t, k]) + b[r, g] v[t, g]
    plain:      y[t, r] = sum over columns k of  w[r, k] x[t, k]

q are the weights' whole numbers, s and b their scales and biases; n are a vector's 16-bit numbers, u its scale in the
group and v its sum there. Rows are interleaved, so that one load brings the same columns of all 16. What is summed in
integers is exact, and the rest is summed in one order: a vector's product is the same to the last bit, whichever others
share its tile.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from menny.engine.cpu.vectors import WIDTH, Vectors, f32, floats, half, halves, i32, i64, ints, pairs, shorts

TOKENS = 4  # vectors in a tile of several
_UNROLLED = 4  # words, or columns, between two looks at the end of a loop

Tile = Callable[..., None]


def quantized_tile(bits: int, tokens: int) -> Tile:
    """The function (words, scales, biases, half_scales, groups, words_per_group, n, u, v, width, y, step).

    Addresses and counts: n is [tokens, width], u and v are [tokens, groups], and y is [tokens, step].
    """

    def generate(vectors: Vectors, args: Any) -> None:
        build = vectors.builder
        words, scales, biases, half_scales, groups, per_group, n, u, v, width, y, step = args
        parts = 16 // bits  # numbers in half a word
        sums = [vectors.variable(_zero(floats)) for _ in range(tokens)]
        with cgutils.for_range(build, groups) as group:
            chains = 4 if tokens == 1 else 1  # sums that needn't wait for each other
            exact = [[vectors.variable(_zero(ints)) for _ in range(chains)] for _ in range(tokens)]
            first = build.mul(group.index, per_group)
            with cgutils.for_range(build, build.sdiv(per_group, ir.Constant(i64, _UNROLLED))) as four:
                at = build.add(first, build.mul(four.index, ir.Constant(i64, _UNROLLED)))
                for unrolled in range(_UNROLLED):
                    word = vectors.load(pairs, vectors.at(words, (at, 64), (unrolled, 64)), align=4)
                    for part, numbers in enumerate(vectors.bits_of(word, bits)):
                        for token in range(tokens):
                            place = vectors.at(n, (at, 4 * parts), (parts * unrolled + part, 4), (width, 2 * token))
                            x = build.bitcast(vectors.splat(vectors.load(i32, place, align=4)), pairs)
                            vectors.add_products_of_pairs(numbers, x, exact[token][part % chains])
            scale, bias = (_either(vectors, each, group.index, half_scales) for each in (scales, biases))
            for token in range(tokens):
                total = build.load(exact[token][0])
                for chain in exact[token][1:]:
                    total = build.add(total, build.load(chain))
                of_x, sum_of_x = (
                    vectors.splat(vectors.load(f32, vectors.at(each, (group.index, 4), (groups, 4 * token)), align=4))
                    for each in (u, v)
                )
                vectors.add_product(build.fmul(scale, of_x), build.sitofp(total, floats), sums[token])
                vectors.add_product(bias, sum_of_x, sums[token])
        for token, total in enumerate(sums):
            vectors.store(build.load(total), vectors.at(y, (step, 4 * token)))

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(_, words, scales, biases, half_scales, groups, per_group, n, u, v, width, y, step):  # type: ignore[no-untyped-def]
        kinds = words, scales, biases, half_scales, groups, per_group, n, u, v, width, y, step
        return _typed(generate, kinds)

    return tile  # type: ignore[no-any-return]


def plain_tile(kind: str, tokens: int) -> Tile:
    """The function (weights, x, width, y, step), for weights in bfloat16, float16 or float32."""
    nbytes = 4 if kind == "float32" else 2

    def generate(vectors: Vectors, args: Any) -> None:
        build = vectors.builder
        weights, x, width, y, step = args
        sums = [[vectors.variable(_zero(floats)) for _ in range(_UNROLLED)] for _ in range(tokens)]
        with cgutils.for_range(build, build.sdiv(width, ir.Constant(i64, _UNROLLED))) as four:
            for unrolled in range(_UNROLLED):
                column = build.add(build.mul(four.index, ir.Constant(i64, _UNROLLED)), ir.Constant(i64, unrolled))
                weight = _as_floats(vectors, kind, vectors.at(weights, (column, WIDTH * nbytes)))
                for token in range(tokens):
                    number = vectors.load(f32, vectors.at(x, (column, 4), (width, 4 * token)), align=4)
                    vectors.add_product(weight, vectors.splat(number), sums[token][unrolled])
        for token, (a, b, c, d) in enumerate(sums):
            low, high = build.fadd(build.load(a), build.load(b)), build.fadd(build.load(c), build.load(d))
            vectors.store(build.fadd(low, high), vectors.at(y, (step, 4 * token)))

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(_, weights, x, width, y, step):  # type: ignore[no-untyped-def]
        return _typed(generate, (weights, x, width, y, step))

    return tile  # type: ignore[no-any-return]


def _typed(generate: Callable[[Vectors, Any], None], kinds: tuple[Any, ...]) -> Any:
    """The type of a function of these integers, and how it is compiled: as Numba asks of an intrinsic."""

    def lower(context: Any, builder: Any, _: Any, args: Any) -> Any:
        generate(Vectors(builder), args)
        return context.get_dummy_value()

    return types.void(*[types.int64] * len(kinds)), lower


def _zero(kind: Any) -> Any:
    return ir.Constant(kind, [0] * WIDTH)


def _either(vectors: Vectors, numbers: Any, group: Any, are_half: Any) -> Any:
    """Sixteen rows' scales, or biases, of a group; kept as float16 or as float32."""
    build = vectors.builder
    result = vectors.variable(_zero(floats))
    is_half = build.icmp_signed("!=", are_half, ir.Constant(i64, 0))
    with build.if_else(is_half) as (then, otherwise):
        with then:
            build.store(build.fpext(vectors.load(halves, vectors.at(numbers, (group, 32))), floats), result)
        with otherwise:
            build.store(vectors.load(floats, vectors.at(numbers, (group, 64)), align=4), result)
    return build.load(result)


def _as_floats(vectors: Vectors, kind: str, address: Any) -> Any:
    build = vectors.builder
    if kind == "float32":
        return vectors.load(floats, address, align=4)
    if kind == "float16":
        return build.fpext(vectors.load(halves, address), floats)
    high = build.shl(build.zext(vectors.load(shorts, address), ints), ir.Constant(ints, [16] * WIDTH))
    return build.bitcast(high, floats)
