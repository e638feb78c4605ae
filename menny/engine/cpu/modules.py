"""Modules that take the places of MLX's in a model on a processor: the same products, by kernels of our own.

They leave MLX's graph: their input is evaluated, and their output is there when they return.
"""

from collections.abc import Sequence
from functools import cache

import mlx.core as mx
import mlx.nn as nn
import numba
import numpy as np

from menny.engine.cpu import plain_tile, quantized_tile
from menny.engine.cpu.activations import Vectors
from menny.engine.cpu.arrays import in_order
from menny.engine.cpu.compiling import is_kept
from menny.engine.cpu.jobs import STAGES, feed_forward, linear
from menny.engine.cpu.matrix import DESCRIPTION, Packed
from menny.engine.cpu.pool import Pool
from menny.engine.cpu.tiles import SIGNATURE, TOKENS
from menny.engine.cpu.together import STAGE

TILES = {  # of every form that a matrix can have: for one vector, and for four
    "4 bits": (quantized_tile.four_bits, quantized_tile.four_bits_of_four),
    "8 bits": (quantized_tile.eight_bits, quantized_tile.eight_bits_of_four),
    "bfloat16": (plain_tile.bfloat16, plain_tile.bfloat16_of_four),
    "float16": (plain_tile.float16, plain_tile.float16_of_four),
    "float32": (plain_tile.float32, plain_tile.float32_of_four),
}


class PackedLinear(nn.Module):
    """y = W x, without a bias."""

    def __init__(self, packed: Packed, pool: Pool) -> None:
        super().__init__()
        self.packed = packed
        self._pool = pool
        self._matrix = describe([packed])

    def __call__(self, x: mx.array) -> mx.array:
        return mx.array(self.product(x)).reshape(*x.shape[:-1], -1)

    def product(self, x: mx.array) -> np.ndarray:
        """x [..., in] → [L, out], in NumPy."""
        rows = filled(rows_of(x))
        out = np.empty((len(rows), self.packed.rows), np.float32)
        a = vectors(rows, self.packed)
        self._pool.run(linear, (self._matrix, 0, a, len(rows), out.reshape(-1)), STAGES * STAGE)
        return out[: x.size // x.shape[-1], : self.packed.shape[-2]]


class PackedEmbedding(PackedLinear):
    """Rows of a matrix by their numbers; and, where the output is tied to it, the product with all of them."""

    def __call__(self, tokens: mx.array) -> mx.array:
        rows = self.packed.rows_at(in_order(tokens).reshape(-1))
        return mx.array(rows).reshape(*tokens.shape, -1)

    def as_linear(self, x: mx.array) -> mx.array:
        """The product of every row with x."""
        return super().__call__(x)


class PackedFeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x); of stacks of experts, by one of them."""

    def __init__(self, w1: Packed, w2: Packed, w3: Packed, pool: Pool) -> None:
        super().__init__()
        self.packed = w1, w2, w3
        self._pool = pool
        self._matrices = describe(self.packed)

    def __call__(self, x: mx.array) -> mx.array:
        return mx.array(self.rows(rows_of(x))).reshape(x.shape)

    def rows(self, x: np.ndarray, expert: int = 0) -> np.ndarray:
        """x [L, dim] → [L, dim]."""
        w1, w2, _ = self.packed
        rows = filled(x)
        hidden = np.zeros((len(rows), w2.shape[-1]), np.float32)
        out = np.empty((len(rows), w2.rows), np.float32)
        args = self._matrices, expert, vectors(rows, w1), vectors(hidden, w2), len(rows), out.reshape(-1)
        self._pool.run(feed_forward, args, STAGES * STAGE)
        return out[: len(x), : w2.shape[-2]]


class PackedMoE(nn.Module):
    """A sparse mixture of experts: y = sum over the top k of Softmax(TopK(x Wg))_i SwiGLU_i(x)."""

    def __init__(self, gate: PackedLinear, experts: PackedFeedForward, n_chosen: int) -> None:
        super().__init__()
        self.gate = gate
        self.experts = experts
        self.n_chosen = n_chosen

    def __call__(self, x: mx.array) -> mx.array:
        rows = rows_of(x)
        logits = self.gate.product(x)  # [N, E]
        chosen = np.argsort(-logits, axis=-1, kind="stable")[:, : self.n_chosen]
        largest = np.take_along_axis(logits, chosen, axis=-1)
        shares = np.exp(largest - largest[:, :1])
        shares /= shares.sum(axis=-1, keepdims=True)
        out = np.zeros_like(rows)
        for expert in np.unique(chosen):
            token, place = np.nonzero(chosen == expert)
            out[token] += shares[token, place, None] * self.experts.rows(rows[token], int(expert))
        return mx.array(out).reshape(x.shape)


def describe(matrices: Sequence[Packed]) -> np.ndarray:
    """What the kernels know of these matrices."""
    return np.array([packed.description(*tile_addresses(packed.form)) for packed in matrices], DESCRIPTION)


@cache
def tile_addresses(form: str) -> tuple[int, int]:
    """Where the machine code of a form's two tiles lies; they are compiled when they are first needed."""
    one, four = (numba.cfunc(SIGNATURE, cache=is_kept())(tile).address for tile in TILES[form])
    return int(one), int(four)


def rows_of(x: mx.array) -> np.ndarray:
    """The vectors of x [..., n] as [L, n]."""
    return in_order(x.astype(mx.float32)).reshape(-1, x.shape[-1])


def filled(rows: np.ndarray) -> np.ndarray:
    """One row, or several filled up to fours."""
    missing = -len(rows) % TOKENS if len(rows) > 1 else 0
    return np.pad(rows, ((0, missing), (0, 0))) if missing else rows


def vectors(rows: np.ndarray, packed: Packed) -> Vectors:
    """Rows to be multiplied by this matrix."""
    groups = rows.size // packed.group if packed.group else 0
    n = np.zeros(rows.size if groups else 0, np.int16)
    return Vectors(rows.reshape(-1), n, np.zeros(groups, np.float32), np.zeros(groups, np.float32))
