"""Tiles: 16 rows of a matrix times one vector, or four of them at once, which read the matrix once.

    quantized:  y[t, r] = sum over groups g of  s[r, g] u[t, g] (sum over columns k of g: q[r, k] n[t, k]) + b[r, g] v[t, g]
    plain:      y[t, r] = sum over columns k of  w[r, k] x[t, k]

q are the weights' whole numbers, s and b their scales and biases; n are a vector's 16-bit numbers, u its scale in the
group and v its sum there. Rows are interleaved, so that one load brings the same columns of all 16. What is summed in
integers is exact, and the rest is summed in one order: a vector's product is the same to the last bit, whichever others
share its tile.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.vectors import WIDTH, Vectors, f32, floats, halves, i32, i64, ints, pairs, shorts

TOKENS = 4  # vectors in a tile of several
_UNROLLED = 4  # words, or columns, between two looks at the end of a loop
_AHEAD = 4096  # bytes before they are read, that weights are asked of the memory
_N_ARGS = 12

Generate = Callable[[Vectors, Any], None]


@cache
def tile_address(form: str, tokens: int) -> int:
    """The machine code of a tile for matrices of this form; compiled when it is first asked for, if no cache has it.

    Its arguments are addresses and counts: words, scales, biases, half_scales, groups, words_per_group, n, u, v, width,
    y, step. n is [tokens, width], u and v are [tokens, groups], y is [tokens, step]. A plain tile reads of them words, n
    (which is x then), width, y and step.
    """
    generate = _quantized(int(form[0]), tokens) if form.endswith("bits") else _plain(form, tokens)
    tile = _intrinsic(generate)

    def call(w, s, b, half_scales, groups, per_group, n, u, v, width, y, step):  # type: ignore[no-untyped-def]
        tile(w, s, b, half_scales, groups, per_group, n, u, v, width, y, step)

    call.__qualname__ = f"tile_{form.replace(' ', '_')}_{tokens}"
    return int(cfunc(types.void(*[types.int64] * _N_ARGS))(call).address)


@intrinsic  # type: ignore[untyped-decorator]
def call_tile(_, tile, w, s, b, half_scales, groups, per_group, n, u, v, width, y, step):  # type: ignore[no-untyped-def]
    """Run the machine code of a tile at an address."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [i64] * _N_ARGS)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return ir.Constant(ir.IntType(8).as_pointer(), None)

    return types.void(*[types.int64] * (1 + _N_ARGS)), lower


def _intrinsic(generate: Generate) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def tile(_, w, s, b, half_scales, groups, per_group, n, u, v, width, y, step):  # type: ignore[no-untyped-def]
        def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
            generate(Vectors(builder), args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * _N_ARGS), lower

    return tile


def _quantized(bits: int, tokens: int) -> Generate:
    def generate(vectors: Vectors, args: Any) -> None:
        build = vectors.builder
        words, scales, biases, half_scales, groups, per_group, n, u, v, width, y, step = args
        sums = [vectors.variable(_zero(floats)) for _ in range(tokens)]
        with cgutils.for_range(build, groups) as group:
            exact = _sums_of_group(vectors, bits, tokens, words, build.mul(group.index, per_group), per_group, n, width)
            scale, bias = (_either(vectors, each, group.index, half_scales) for each in (scales, biases))
            for token in range(tokens):
                of_x, sum_of_x = (
                    vectors.splat(vectors.load(f32, vectors.at(each, (group.index, 4), (groups, 4 * token)), align=4))
                    for each in (u, v)
                )
                vectors.add_product(build.fmul(scale, of_x), build.sitofp(exact[token], floats), sums[token])
                vectors.add_product(bias, sum_of_x, sums[token])
        for token, total in enumerate(sums):
            vectors.store(build.load(total), vectors.at(y, (step, 4 * token)))

    return generate


def _sums_of_group(
    vectors: Vectors, bits: int, tokens: int, words: Any, first: Any, per_group: Any, n: Any, width: Any
) -> list[Any]:
    """Each token's sum over a group's columns of q n, whose first word is `first`."""
    build = vectors.builder
    parts = 16 // bits  # numbers in half a word
    chains = 4 if tokens == 1 else 1  # sums that needn't wait for each other
    exact = [[vectors.variable(_zero(ints)) for _ in range(chains)] for _ in range(tokens)]
    with cgutils.for_range(build, build.sdiv(per_group, ir.Constant(i64, _UNROLLED))) as four:
        at = build.add(first, build.mul(four.index, ir.Constant(i64, _UNROLLED)))
        for unrolled in range(_UNROLLED):
            place = vectors.at(words, (at, 64), (unrolled, 64))
            word = vectors.load(pairs, place, align=4)
            vectors.fetch(vectors.at(place, (_AHEAD, 1)))
            for part, numbers in enumerate(vectors.bits_of(word, bits)):
                for token in range(tokens):
                    place = vectors.at(n, (at, 4 * parts), (parts * unrolled + part, 4), (width, 2 * token))
                    x = build.bitcast(vectors.splat(vectors.load(i32, place, align=4)), pairs)
                    vectors.add_products_of_pairs(numbers, x, exact[token][part % chains])
    totals = []
    for sums in exact:
        total = build.load(sums[0])
        for chain in sums[1:]:
            total = build.add(total, build.load(chain))
        totals.append(total)
    return totals


def _plain(kind: str, tokens: int) -> Generate:
    nbytes = 4 if kind == "float32" else 2

    def generate(vectors: Vectors, args: Any) -> None:
        build = vectors.builder
        weights, *_, x, _, _, width, y, step = args
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

    return generate


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
