"""Attention of one query, and rotary embeddings, for a few tokens at a time.

Legend of shapes: D head_dim, T tokens that are seen.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.compiling import kernel, maths
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


@kernel  # without leave to reorder sums: attention_tile.py has them in the same order
def attend(
    q: np.ndarray, keys: np.ndarray, values: np.ndarray, scores: np.ndarray, out: np.ndarray, are_new: bool
) -> None:
    """out = Σₜ softmaxₜ(q · kₜ) vₜ, for a query [D] that is scaled already; keys and values [T, D].

    `scores` has room for T numbers and SPARE more. Keys and values that `are_new`, not read just before, are fetched
    ahead.
    """
    seen, dim = keys.shape
    at, of_values = np.int64(scores.ctypes.data), np.int64(values.ctypes.data)
    _scores(np.int64(q.ctypes.data), np.int64(keys.ctypes.data), of_values, np.int64(are_new), seen, dim, at)
    for token in range(seen, seen + SPARE):
        scores[token] = np.float32(-np.inf)
    total = _exponentials(at, seen, _largest(at, seen))
    _mix(at, of_values, seen, dim, total, np.int64(out.ctypes.data))


@intrinsic
def _scores(_: Any, q: Any, keys: Any, values: Any, are_new: Any, seen: Any, dim: Any, scores: Any) -> Any:
    """Write q · kₜ for every t, four at once; the last four may be some of the last one's."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        q, keys, values, are_new, seen, dim, scores = args
        row_bytes = builder.mul(dim, ir.Constant(i64, 4))
        are_new = builder.icmp_signed("!=", are_new, ir.Constant(i64, 0))
        last = builder.sub(seen, ir.Constant(i64, 1))
        with cgutils.for_range(builder, rounded_up(builder, seen, 4)) as four:
            first = builder.mul(four.index, ir.Constant(i64, 4))
            with builder.if_then(are_new):
                begin = builder.mul(first, row_bytes)
                with cgutils.for_range(builder, rounded_up(builder, row_bytes, LINE // 4)) as line:
                    vectors.fetch(vectors.at(keys, (begin, 1), (line.index, LINE), (AHEAD, 1)))
                    vectors.fetch(vectors.at(values, (begin, 1), (line.index, LINE)), level=2)
            tokens = [least(builder, builder.add(first, ir.Constant(i64, one)), last) for one in range(4)]
            rows = [vectors.at(keys, (builder.mul(token, dim), 4)) for token in tokens]
            sums = [vectors.variable(vectors.zero(floats)) for _ in range(4)]

            def add(columns: Any, load: Any, _: Any, rows: Any = rows, sums: Any = sums) -> None:
                for column in columns:
                    part = load(vectors.at(q, (column, 4)))
                    for row, total in zip(rows, sums, strict=True):
                        vectors.add_product(load(vectors.at(row, (column, 4))), part, total)

            _for_blocks(vectors, dim, add)
            vectors.store(vectors.sums_of_four([builder.load(total) for total in sums]), vectors.at(scores, (first, 4)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), lower


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


@intrinsic
def _mix(_: Any, weights: Any, values: Any, seen: Any, dim: Any, total: Any, out: Any) -> Any:
    """out = Σₜ wₜ vₜ / total."""

    def lower(context: Any, builder: Any, __: Any, args: Any) -> Any:
        vectors = VectorBuilder(builder)
        weights, values, seen, dim, total, out = args
        last, divisor = builder.sub(seen, ir.Constant(i64, 1)), vectors.splat(total)

        def mix(columns: Any, load: Any, store: Any) -> None:
            sums = [[vectors.variable(vectors.zero(floats)) for _ in range(2)] for _ in columns]
            with cgutils.for_range(builder, rounded_up(builder, seen, 2)) as two:
                for one in range(2):  # beyond the last, one that weighs nothing
                    token = builder.add(builder.mul(two.index, ir.Constant(i64, 2)), ir.Constant(i64, one))
                    weight = vectors.splat(vectors.load(f32, vectors.at(weights, (token, 4)), align=4))
                    row = vectors.at(values, (builder.mul(least(builder, token, last), dim), 4))
                    for column, both in zip(columns, sums, strict=True):
                        vectors.add_product(load(vectors.at(row, (column, 4))), weight, both[one])
            for column, (even, odd) in zip(columns, sums, strict=True):
                mixed = builder.fdiv(builder.fadd(builder.load(even), builder.load(odd)), divisor)
                store(mixed, vectors.at(out, (column, 4)))

        _for_blocks(vectors, dim, mix)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, types.float32, types.int64), lower


def _for_blocks(vectors: VectorBuilder, dim: Any, body: Callable[[list[Any], Any, Any], None]) -> None:
    """Repeat `body(columns, load, store)` for every 64 columns of `dim`, in fours of 16, then for the rest one by one.

    It is given the first columns of 16, and how to load and store these: the last may be fewer.
    """
    build, blocks = vectors.builder, 4
    whole = build.sdiv(dim, ir.Constant(i64, blocks * WIDTH))
    with cgutils.for_range(build, whole) as block:
        first = build.mul(block.index, ir.Constant(i64, blocks * WIDTH))
        columns = [build.add(first, ir.Constant(i64, number * WIDTH)) for number in range(blocks)]
        body(columns, lambda address: vectors.load(floats, address, align=4), vectors.store)
    done = build.mul(whole, ir.Constant(i64, blocks * WIDTH))
    with cgutils.for_range(build, rounded_up(build, build.sub(dim, done), WIDTH)) as rest:
        column = build.add(done, build.mul(rest.index, ir.Constant(i64, WIDTH)))
        lanes = vectors.first_lanes(build.sub(dim, column))
        body(
            [column],
            lambda address: vectors.load_lanes(address, lanes),
            lambda value, address: vectors.store_lanes(value, address, lanes),
        )


def rounded_up(build: Any, count: Any, unit: int) -> Any:
    """How many units hold `count`; none where it is negative."""
    return build.sdiv(build.add(count, ir.Constant(i64, unit - 1)), ir.Constant(i64, unit))


def least(build: Any, a: Any, b: Any) -> Any:
    """The smaller of two whole numbers."""
    return build.select(build.icmp_signed("<", a, b), a, b)
