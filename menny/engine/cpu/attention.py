"""Attention of one query, and rotary embeddings, for a few tokens at a time.

Legend of shapes: D head_dim, T tokens that are seen.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.cache_rows import Rows, floats_at, load_some
from menny.engine.cpu.compiling import is_kept, kernel, maths
from menny.engine.cpu.memory import LINE
from menny.engine.cpu.vectors import WIDTH, VectorBuilder, f32, floats, i32, i64

SPARE = WIDTH  # scores beyond the last
AHEAD = 2048  # bytes before they are read, that the memory is asked for keys


@maths
def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, neighbours: bool, scale: Any, out: np.ndarray) -> None:
    """Turn every pair of dimensions, neighbours or half a head apart: (a cos - b sin, a sin + b cos)."""
    half = len(x) // 2
    for pair in range(half):
        first = 2 * pair if neighbours else pair
        second = first + 1 if neighbours else pair + half
        a, b = x[first] * scale, x[second] * scale
        out[first] = a * cos[pair] - b * sin[pair]
        out[second] = a * sin[pair] + b * cos[pair]


@cache
def attend_to(quantized: bool) -> int:
    """The address of the machine code of `_attend`, or of its form for quantized keys and values."""
    function = _attend_quantized if quantized else _attend
    return int(numba.cfunc(types.void(*[types.int64] * 8), cache=is_kept())(function).address)


def _attend(q: int, keys: int, values: int, are_new: int, seen: int, dim: int, scores: int, out: int) -> None:
    """out = Σₜ softmaxₜ(q · kₜ) vₜ, for a query [D] that is scaled already, and keys and values [T, D].

    All are addresses but `are_new`, `seen`, which is T, and `dim`. The scores have room for T numbers and SPARE more.
    Keys and values that `are_new`, not read just before, are fetched ahead. Sums are in the order of attention_tile.py.
    """
    _scores(q, keys, values, are_new, seen, dim, scores)
    _mix(scores, values, seen, dim, _weigh(scores, seen), out)


def _attend_quantized(q: int, keys: int, values: int, are_new: int, seen: int, dim: int, scores: int, out: int) -> None:
    _scores_quantized(q, keys, values, are_new, seen, dim, scores)
    _mix_quantized(scores, values, seen, dim, _weigh(scores, seen), out)


@kernel
def _weigh(scores: int, seen: int) -> float:
    """Make weights of scores: e^(score - the largest). Returns their sum."""
    beyond = carray(floats_at(scores + 4 * seen), SPARE)
    for number in range(SPARE):
        beyond[number] = np.float32(-np.inf)
    return _exponentials(scores, seen, _largest(scores, seen))


def _score_rows(quantized: bool) -> Any:
    """How to write q · kₜ for every t, four at once; the last four may be some of the last one's."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        q, keys, values, are_new, seen, dim, scores = args
        rows = Rows(vectors, dim, quantized)
        are_new = builder.icmp_signed("!=", are_new, ir.Constant(i64, 0))
        last = builder.sub(seen, ir.Constant(i64, 1))
        with cgutils.for_range(builder, rounded_up(builder, seen, 4)) as four:
            first = builder.mul(four.index, ir.Constant(i64, 4))
            with builder.if_then(are_new):
                begin = builder.mul(first, rows.nbytes)
                with cgutils.for_range(builder, rounded_up(builder, rows.nbytes, LINE // 4)) as line:
                    vectors.fetch(vectors.at(keys, (begin, 1), (line.index, LINE), (AHEAD, 1)))
                    vectors.fetch(vectors.at(values, (begin, 1), (line.index, LINE)), level=2)
            tokens = [least(builder, builder.add(first, ir.Constant(i64, one)), last) for one in range(4)]
            places = [rows.at(keys, token) for token in tokens]
            sums = [vectors.variable(vectors.zero(floats)) for _ in range(4)]

            def add(columns: Any, lanes: Any, places: Any = places, sums: Any = sums) -> None:
                for column in columns:
                    part = load_some(vectors, vectors.at(q, (column, 4)), lanes)
                    for row, total in zip(places, sums, strict=True):
                        vectors.add_product(rows.load(row, column, lanes), part, total)

            _for_blocks(vectors, dim, add)
            four_sums = vectors.sums_of_four([builder.load(total) for total in sums])
            for number, row in enumerate(places):
                lane = ir.Constant(i32, number)
                scaled = rows.scaled(builder.extract_element(four_sums, lane), row)
                four_sums = builder.insert_element(four_sums, scaled, lane)
            vectors.store(four_sums, vectors.at(scores, (first, 4)))
        return context.get_dummy_value()

    return lower


@intrinsic
def _scores(_: Any, q: Any, keys: Any, values: Any, are_new: Any, seen: Any, dim: Any, scores: Any) -> Any:
    """Write the scores of keys in float32."""
    return types.void(*[types.int64] * 7), _score_rows(quantized=False)


@intrinsic
def _scores_quantized(_: Any, q: Any, keys: Any, values: Any, are_new: Any, seen: Any, dim: Any, scores: Any) -> Any:
    """Write the scores of quantized keys."""
    return types.void(*[types.int64] * 7), _score_rows(quantized=True)


@intrinsic
def _largest(_: Any, scores: Any, seen: Any) -> Any:
    """The largest score."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        most = vectors.variable(vectors.constant(-float("inf")))
        with cgutils.for_range(builder, rounded_up(builder, args[1], WIDTH)) as step:
            score = vectors.load(floats, vectors.at(args[0], (step.index, 4 * WIDTH)), align=4)
            so_far = builder.load(most)
            builder.store(builder.select(builder.fcmp_ordered(">", score, so_far), score, so_far), most)
        return vectors.reduced("fmax", builder.load(most))

    return types.float32(types.int64, types.int64), lower


@intrinsic
def _exponentials(_: Any, scores: Any, seen: Any, most: Any) -> Any:
    """scores = e^(scores - most); returns their sum."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        most, total = vectors.splat(args[2]), vectors.variable(vectors.zero(floats))
        with cgutils.for_range(builder, rounded_up(builder, args[1], WIDTH)) as step:
            place = vectors.at(args[0], (step.index, 4 * WIDTH))
            power = vectors.weight(vectors.load(floats, place, align=4), most)
            vectors.store(power, place)
            builder.store(builder.fadd(builder.load(total), power), total)
        nothing = vectors.zero(floats)
        sums = vectors.sums_of_four([builder.load(total), nothing, nothing, nothing])
        return builder.extract_element(sums, ir.Constant(i32, 0))

    return types.float32(types.int64, types.int64, types.float32), lower


def _mix_rows(quantized: bool) -> Any:
    """How to compute out = Σₜ wₜ vₜ / total."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        weights, values, seen, dim, total, out = args
        rows = Rows(vectors, dim, quantized)
        last, divisor = builder.sub(seen, ir.Constant(i64, 1)), vectors.splat(total)

        def mix(columns: Any, lanes: Any) -> None:
            sums = [[vectors.variable(vectors.zero(floats)) for _ in range(2)] for _ in columns]
            with cgutils.for_range(builder, rounded_up(builder, seen, 2)) as two:
                for one in range(2):  # beyond the last, one that weighs nothing
                    token = builder.add(builder.mul(two.index, ir.Constant(i64, 2)), ir.Constant(i64, one))
                    row = rows.at(values, least(builder, token, last))
                    share = vectors.load(f32, vectors.at(weights, (token, 4)), align=4)
                    weight = vectors.splat(rows.scaled(share, row))
                    for column, both in zip(columns, sums, strict=True):
                        vectors.add_product(rows.load(row, column, lanes), weight, both[one])
            for column, (even, odd) in zip(columns, sums, strict=True):
                mixed = builder.fdiv(builder.fadd(builder.load(even), builder.load(odd)), divisor)
                place = vectors.at(out, (column, 4))
                if lanes is None:
                    vectors.store(mixed, place)
                else:
                    vectors.store_lanes(mixed, place, lanes)

        _for_blocks(vectors, dim, mix)
        return context.get_dummy_value()

    return lower


@intrinsic
def _mix(_: Any, weights: Any, values: Any, seen: Any, dim: Any, total: Any, out: Any) -> Any:
    """Mix values in float32."""
    return types.void(*[types.int64] * 4, types.float32, types.int64), _mix_rows(quantized=False)


@intrinsic
def _mix_quantized(_: Any, weights: Any, values: Any, seen: Any, dim: Any, total: Any, out: Any) -> Any:
    """Mix quantized values."""
    return types.void(*[types.int64] * 4, types.float32, types.int64), _mix_rows(quantized=True)


def _for_blocks(vectors: VectorBuilder, dim: Any, body: Callable[[list[Any], Any], None]) -> None:
    """Repeat `body(columns, lanes)` for every 64 columns of `dim`, in fours of 16, then for the rest one by one.

    It is given the first columns of 16, and which lanes of them there are: None where there are all.
    """
    build, blocks = vectors.builder, 4
    whole = build.sdiv(dim, ir.Constant(i64, blocks * WIDTH))
    with cgutils.for_range(build, whole) as block:
        first = build.mul(block.index, ir.Constant(i64, blocks * WIDTH))
        body([build.add(first, ir.Constant(i64, number * WIDTH)) for number in range(blocks)], None)
    done = build.mul(whole, ir.Constant(i64, blocks * WIDTH))
    with cgutils.for_range(build, rounded_up(build, build.sub(dim, done), WIDTH)) as rest:
        column = build.add(done, build.mul(rest.index, ir.Constant(i64, WIDTH)))
        body([column], vectors.first_lanes(build.sub(dim, column)))


def rounded_up(build: Any, count: Any, unit: int) -> Any:
    """How many units hold `count`; none where it is negative."""
    return build.sdiv(build.add(count, ir.Constant(i64, unit - 1)), ir.Constant(i64, unit))


def least(build: Any, a: Any, b: Any) -> Any:
    """The smaller of two whole numbers."""
    return build.select(build.icmp_signed("<", a, b), a, b)
