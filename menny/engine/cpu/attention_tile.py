"""Attention of sixteen queries at once, for chunks of a prompt: each query has a lane of its own.

So a key is read once for all of them, and no sum runs across lanes. Each query's sums run in the order in which
attention.py has them for one alone: what comes out is the same to the last bit.

Legend of shapes: D head_dim, T tokens that any of the queries sees.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.attention import least, rounded_up
from menny.engine.cpu.compiling import is_kept
from menny.engine.cpu.vectors import WIDTH, VectorBuilder, f32, floats, i32, i64, ints

LANES = WIDTH  # queries
_ROW = 4 * LANES  # bytes of a number of each query
_COLUMNS = 64  # of a key, that attention.py takes at once


@cache
def attend_in_lanes() -> int:
    """The address of `_attend`'s machine code: it is compiled once, and not again into each function that calls it."""
    return int(numba.cfunc(types.void(*[types.int64] * 10), cache=is_kept())(_attend).address)


def _attend(
    queries: int,
    keys: int,
    values: int,
    key_scales: int,
    value_scales: int,
    seen_by: int,
    seen: int,
    dim: int,
    scores: int,
    out: int,
) -> None:
    """out = Σₜ softmaxₜ(q · kₜ) vₜ for each query, which sees as many of the first tokens as `seen_by` has [16].

    All are addresses but `seen`, which is T, and `dim`: queries and out are [D, 16], keys and values [T, D], their rows
    to be multiplied by scales [T]; scores have room for as many whole sixteens of rows [16] as hold T, and one more.
    """
    _scores(queries, keys, key_scales, seen, dim, scores)
    _weights(scores, seen_by, seen, out)
    _mix(scores, values, value_scales, seen, dim, out)


def sum_in_order(numbers: Callable[[int], list[Any]], add: Callable[[Any, Any], Any]) -> list[Any]:
    """The sums of sixteen numbers, as VectorBuilder.sums_of_four adds up its lanes; several sums at a time."""

    def plus(a: list[Any], b: list[Any]) -> list[Any]:
        return [add(one, other) for one, other in zip(a, b, strict=True)]

    def quarter(first: int) -> list[Any]:
        return plus(plus(numbers(first), numbers(first + 2)), plus(numbers(first + 1), numbers(first + 3)))

    return plus(plus(quarter(0), quarter(8)), plus(quarter(4), quarter(12)))


def _builder(context: Any, builder: Any) -> VectorBuilder:
    _, _, features = context.codegen().magic_tuple()
    return VectorBuilder(builder, features)


@intrinsic
def _scores(_: Any, queries: Any, keys: Any, scales: Any, seen: Any, dim: Any, scores: Any) -> Any:
    """Write q · kₜ for every t [T, 16], some keys at once; the last of them may be some of the last one's."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = _builder(context, builder)
        queries, keys, scales, seen, dim, scores = args
        several = 4 if vectors.has_wide_registers else 2
        last, whole = builder.sub(seen, ir.Constant(i64, 1)), builder.sdiv(dim, ir.Constant(i64, _COLUMNS))
        with cgutils.for_range(builder, rounded_up(builder, seen, several)) as some:
            first = builder.mul(some.index, ir.Constant(i64, several))
            tokens = [builder.add(first, ir.Constant(i64, number)) for number in range(several)]
            rows = [vectors.at(keys, (builder.mul(least(builder, token, last), dim), 4)) for token in tokens]

            def add(column: Any, sums: list[Any], rows: list[Any] = rows) -> None:
                query = vectors.load(floats, vectors.at(queries, (column, _ROW)), align=4)
                for row, total in zip(rows, sums, strict=True):
                    vectors.add_product(vectors.splat(vectors.load(f32, vectors.at(row, (column, 4)), 4)), query, total)

            def of_lane(lane: int, add: Any = add) -> list[Any]:
                """The sums over the columns `lane`, `lane` + 16, … of each key."""
                sums = [vectors.variable(vectors.zero(floats)) for _ in range(several)]
                with cgutils.for_range(builder, whole) as block:
                    begin = builder.mul(block.index, ir.Constant(i64, _COLUMNS))
                    for column in range(lane, _COLUMNS, WIDTH):
                        add(builder.add(begin, ir.Constant(i64, column)), sums)
                begin = builder.add(builder.mul(whole, ir.Constant(i64, _COLUMNS)), ir.Constant(i64, lane))
                with cgutils.for_range(builder, rounded_up(builder, builder.sub(dim, begin), WIDTH)) as rest:
                    add(builder.add(begin, builder.mul(rest.index, ir.Constant(i64, WIDTH))), sums)
                return [builder.load(total) for total in sums]

            for token, total in zip(tokens, sum_in_order(of_lane, builder.fadd), strict=True):
                scale = _scale(vectors, scales, least(builder, token, last))
                vectors.store(builder.fmul(total, scale), vectors.at(scores, (token, _ROW)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), lower


def _scale(vectors: VectorBuilder, scales: Any, token: Any) -> Any:
    """The scale of a token's row, for all lanes."""
    return vectors.splat(vectors.load(f32, vectors.at(scales, (token, 4)), align=4))


@intrinsic
def _weights(_: Any, scores: Any, seen_by: Any, seen: Any, totals: Any) -> Any:
    """scores = e^(score - the query's largest), 0 where it doesn't see the token; writes their sums [16]."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        scores, seen_by, seen, totals = args
        seen_by = vectors.load(ints, seen_by, align=4)
        lowest = vectors.constant(-float("inf"))

        def is_seen(token: Any) -> Any:
            return builder.icmp_signed(">", seen_by, vectors.splat(builder.trunc(token, i32)))

        most = vectors.variable(lowest)
        with cgutils.for_range(builder, seen) as one:
            score = vectors.load(floats, vectors.at(scores, (one.index, _ROW)), align=4)
            so_far = builder.load(most)
            is_more = builder.and_(is_seen(one.index), builder.fcmp_ordered(">", score, so_far))
            builder.store(builder.select(is_more, score, so_far), most)
        steps = rounded_up(builder, seen, WIDTH)
        with cgutils.for_range(builder, builder.mul(steps, ir.Constant(i64, WIDTH))) as one:
            place = vectors.at(scores, (one.index, _ROW))
            power = vectors.weight(vectors.load(floats, place, align=4), builder.load(most))
            vectors.store(builder.select(is_seen(one.index), power, vectors.zero(floats)), place)
        sums = [vectors.variable(vectors.zero(floats)) for _ in range(WIDTH)]
        with cgutils.for_range(builder, steps) as step:
            for number, total in enumerate(sums):
                place = vectors.at(scores, (step.index, WIDTH * _ROW), (number, _ROW))
                power = vectors.load(floats, place, align=4)
                builder.store(builder.fadd(builder.load(total), power), total)
        (total,) = sum_in_order(lambda lane: [builder.load(sums[lane])], builder.fadd)
        vectors.store(total, totals)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), lower


@intrinsic
def _mix(_: Any, weights: Any, values: Any, scales: Any, seen: Any, dim: Any, out: Any) -> Any:
    """out = Σₜ wₜ vₜ / total [D, 16], the totals being where out begins."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = _builder(context, builder)
        weights, values, scales, seen, dim, out = args
        several = 8 if vectors.has_wide_registers else 2
        last, totals = builder.sub(seen, ir.Constant(i64, 1)), vectors.load(floats, out, align=4)

        def mix(columns: list[Any]) -> None:
            sums = [[vectors.variable(vectors.zero(floats)) for _ in range(2)] for _ in columns]
            with cgutils.for_range(builder, rounded_up(builder, seen, 2)) as two:
                for one in range(2):  # beyond the last, one that weighs nothing
                    token = builder.add(builder.mul(two.index, ir.Constant(i64, 2)), ir.Constant(i64, one))
                    held = least(builder, token, last)
                    weight = vectors.load(floats, vectors.at(weights, (token, _ROW)), align=4)
                    weight = builder.fmul(weight, _scale(vectors, scales, held))
                    row = vectors.at(values, (builder.mul(held, dim), 4))
                    for column, both in zip(columns, sums, strict=True):
                        value = vectors.splat(vectors.load(f32, vectors.at(row, (column, 4)), 4))
                        vectors.add_product(value, weight, both[one])
            for column, (even, odd) in zip(columns, sums, strict=True):
                mixed = builder.fdiv(builder.fadd(builder.load(even), builder.load(odd)), totals)
                vectors.store(mixed, vectors.at(out, (column, _ROW)))

        whole = builder.sdiv(dim, ir.Constant(i64, several))
        with cgutils.for_range(builder, whole) as block:
            first = builder.mul(block.index, ir.Constant(i64, several))
            mix([builder.add(first, ir.Constant(i64, number)) for number in range(several)])
        done = builder.mul(whole, ir.Constant(i64, several))
        with cgutils.for_range(builder, builder.sub(dim, done)) as rest:
            mix([builder.add(done, rest.index)])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), lower
