"""Tiles as Numba compiles and calls them: machine code at an address, with one signature whatever the matrix's form.

A tile is 16 rows of a matrix times one vector, or four. Each is compiled once, and called by address, so that it isn't
compiled again into every function that multiplies.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from menny.engine.cpu.vectors import VectorBuilder, i64

TOKENS = 4  # vectors in a tile of several
UNROLLED = 4  # words, or columns, between two looks at the end of a loop
AHEAD = 4096  # bytes before they are read, that a tile of one vector asks the memory for weights
AHEAD_OF_SEVERAL = 16384  # that a tile of several does, into the second cache: the first is full of their vectors
_N_ARGS = 12

Generate = Callable[[VectorBuilder, Any], None]

SIGNATURE = types.void(*[types.int64] * _N_ARGS)
"""Addresses and counts: words, scales, biases, scale_form, groups, words_per_group, n, u, v, width, y, step.

n is [tokens, width], u and v are [tokens, groups], and y is [tokens, step]. Plain tiles read words, n (which is x, in
float32), width, y and step.
"""


def typed(generate: Generate) -> Any:
    """The type of a tile, and how it is compiled: as Numba asks of an intrinsic."""

    def lower(context: Any, builder: Any, _: Any, args: Any) -> Any:
        _, _, features = context.codegen().magic_tuple()
        generate(VectorBuilder(builder, features), args)
        return context.get_dummy_value()

    return SIGNATURE, lower


@intrinsic
def call(_, address, args):
    """Run the machine code at an address, with a tuple of numbers of 64 bits."""

    def lower(context: Any, builder: Any, __: Any, values: Any) -> Any:
        numbers = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(ir.VoidType(), [i64] * len(numbers))
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), numbers)
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, len(args))), lower
