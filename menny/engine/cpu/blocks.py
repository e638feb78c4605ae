"""All blocks of a model for a few tokens, in one call: what model.py computes, stage by stage, by all threads together.

Every thread walks through the same stages; what a stage needs of vectors, each prepares for itself.

Legend of shapes: T tokens (1, or several fours, the last of which may be filled up), H heads, K KV heads, D head_dim.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from menny.engine.cpu.activations import Vectors, gate, rms_norm, to_integers
from menny.engine.cpu.attention import attend, rotate
from menny.engine.cpu.products import (
    ROWS,
    TOKENS,
    address,
    multiply,
    multiply_rows,
    pieces_of,
    prepare,
    rows_of_piece,
)
from menny.engine.cpu.together import STAGE, finish_piece, has_pieces, next_piece, wait_until_done

WQKV, WO, GATE, W1, W2, W3 = range(6)  # a block's matrices
STAGES = 8  # of a block
KEYS, VALUES, CAPACITY, SLOT, SEEN = range(5)  # of a block's cache; SEEN: by the first token, itself included
CACHE_NUMBERS = 5


class Numbers(NamedTuple):
    """What model.args says, as far as blocks need it."""

    dim: int
    hidden: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    eps: float
    neighbours: bool  # rotary pairs are
    experts: int  # 0: dense
    chosen: int  # experts a token goes through


class Shared(NamedTuple):
    """What all threads read and write, flat. A vector's rows are those of its matrix."""

    x: np.ndarray  # [T, dim]: the blocks' input, then their output
    qkv: np.ndarray  # [T, (H + 2K) D]
    mixed: np.ndarray  # [T, H D]
    hidden: np.ndarray  # [T, hidden]; with experts [T, chosen, hidden]


@intrinsic  # type: ignore[untyped-decorator]
def _floats_at(_: Any, place: Any) -> Any:
    """A pointer to float32 numbers at an address."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(types.int64), lower
