"""Threads that share a stage of work: pieces are handed out one by one, and the next stage begins when all are done.

A stage has two counters, of pieces begun and of pieces done. A thread that comes late finds nothing left to do, so all
wait for pieces that are being worked on, never for a thread that sleeps.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from menny.engine.cpu.compiling import kernel

STAGE = 128  # bytes of a stage's counters: each in a line of its own of the processor's cache
_DONE = 64
_PATIENCE = 256  # looks at a counter between two times that the core is offered to others

_yield = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def _add_one(_: Any, address: Any) -> Any:
    """Add 1 to the counter at an address; returns what it was."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(types.int64), lower


@intrinsic
def _count(_: Any, address: Any) -> Any:
    """The counter at an address."""

    def lower(__: Any, builder: Any, ___: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], ir.IntType(64).as_pointer()), "acquire", 8)

    return types.int64(types.int64), lower


@kernel
def has_pieces(stage: int, pieces: int) -> bool:
    """Whether there are pieces of this stage that nobody has begun."""
    return _count(stage) < pieces


@kernel
def next_piece(stage: int) -> int:
    """The number of a piece that nobody else has; beyond the last: there are none left."""
    return _add_one(stage)


@kernel
def finish_piece(stage: int) -> None:
    """Tell the others that a piece is done."""
    _add_one(stage + _DONE)


@kernel
def wait_until_done(stage: int, pieces: int) -> None:
    """Return when all pieces are done."""
    looks = 0
    while _count(stage + _DONE) < pieces:
        looks += 1
        if looks == _PATIENCE:
            looks = 0
            _yield()
