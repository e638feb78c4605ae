"""The tile of a quantized matrix: 16 rows times one vector, or four of them at once, which read the matrix once.

    y[t, r] = sum over groups g of  s[r, g] u[t, g] (sum over columns k of g: q[r, k] n[t, k])  +  b[r, g] v[t, g]

q are the weights' whole numbers, s and b their scales and biases; where no biases are kept, b is -8 s, or in 8 bits
-128 s. n are a vector's 16-bit numbers, u its scale in the group and v its sum there. Rows are interleaved, so that one
load brings the same columns of all 16. What is summed in integers is exact, and the rest is summed in one order: a
vector's product is the same to the last bit, whichever others share its tile.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.scales import FLOAT16
from menny.engine.cpu.tiles import AHEAD, AHEAD_OF_SEVERAL, TOKENS, UNROLLED, Generate, typed
from menny.engine.cpu.vectors import VectorBuilder, f32, floats, halves, i32, i64, ints, pairs, signed


def _quantized(bits: int, tokens: int) -> Generate:
    def generate(vectors: VectorBuilder, args: Any) -> None:
        build = vectors.builder
        words, scales, biases, scale_form, groups, per_group, n, u, v, width, y, step = args
        sums = [vectors.variable(vectors.zero(floats)) for _ in range(tokens)]
        with cgutils.for_range(build, groups) as group:
            exact = _sums_of_group(vectors, bits, tokens, words, build.mul(group.index, per_group), per_group, n, width)
            scale = _of_group(vectors, scales, group.index, scale_form)
            bias = _bias(vectors, bits, biases, group.index, scale_form, scale)
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
    vectors: VectorBuilder, bits: int, tokens: int, words: Any, first: Any, per_group: Any, n: Any, width: Any
) -> list[Any]:
    """Each token's sum over a group's columns of q n, whose first word is `first`."""
    build = vectors.builder
    parts = 16 // bits  # numbers in half a word
    chains = parts if tokens == 1 or vectors.has_wide_registers else 1  # sums that needn't wait for each other
    exact = [[vectors.variable(vectors.zero(ints)) for _ in range(chains)] for _ in range(tokens)]
    with cgutils.for_range(build, build.sdiv(per_group, ir.Constant(i64, UNROLLED))) as four:
        at = build.add(first, build.mul(four.index, ir.Constant(i64, UNROLLED)))
        for unrolled in range(UNROLLED):
            place = vectors.at(words, (at, 64), (unrolled, 64))
            word = vectors.load(pairs, place, align=4)
            if tokens == 1:
                vectors.fetch(vectors.at(place, (AHEAD, 1)))
            else:
                vectors.fetch(vectors.at(place, (AHEAD_OF_SEVERAL, 1)), level=2)
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


def _bias(vectors: VectorBuilder, bits: int, biases: Any, group: Any, form: Any, scale: Any) -> Any:
    """Sixteen rows' biases of a group; where there are none, the zero is in the middle."""
    build = vectors.builder
    result = vectors.variable(build.fmul(scale, vectors.constant(-(2.0 ** (bits - 1)))))
    with build.if_then(build.icmp_signed("!=", biases, ir.Constant(i64, 0))):
        build.store(_of_group(vectors, biases, group, form), result)
    return build.load(result)


def _of_group(vectors: VectorBuilder, numbers: Any, group: Any, form: Any) -> Any:
    """Sixteen rows' scales, or biases, of a group, in one of the forms of scales.py."""
    build = vectors.builder
    result = vectors.variable(vectors.zero(floats))
    with build.if_else(build.icmp_signed(">", form, ir.Constant(i64, FLOAT16))) as (then, otherwise):
        with then:
            build.store(_unit_times_step(vectors, numbers, group, form), result)
        with otherwise, build.if_else(build.icmp_signed("==", form, ir.Constant(i64, FLOAT16))) as (then, otherwise):
            with then:
                build.store(build.fpext(vectors.load(halves, vectors.at(numbers, (group, 32))), floats), result)
            with otherwise:
                build.store(vectors.load(floats, vectors.at(numbers, (group, 64)), align=4), result)
    return build.load(result)


def _unit_times_step(vectors: VectorBuilder, numbers: Any, group: Any, form: Any) -> Any:
    build = vectors.builder
    count = build.shl(ir.Constant(i64, 1), form)  # groups of a unit
    block = vectors.at(numbers, (build.mul(build.lshr(group, form), build.add(count, ir.Constant(i64, 4))), 16))
    step = vectors.load(
        signed, vectors.at(block, (build.and_(group, build.sub(count, ir.Constant(i64, 1))), 16), (1, 64)), 1
    )
    return build.fmul(vectors.load(floats, block, align=4), build.sitofp(step, floats))


@intrinsic
def _four_bits(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_quantized(4, 1))


def four_bits(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _four_bits(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _four_bits_of_four(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_quantized(4, TOKENS))


def four_bits_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _four_bits_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _eight_bits(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_quantized(8, 1))


def eight_bits(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _eight_bits(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)


@intrinsic
def _eight_bits_of_four(_, w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    return typed(_quantized(8, TOKENS))


def eight_bits_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step):
    """See above."""
    _eight_bits_of_four(w, s, b, scale_form, groups, per_group, n, u, v, width, y, step)
