"""How Numba compiles: the decorators of all kernels."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numba

from menny.engine.cpu.kept import working_copy

MATHS = {"contract", "reassoc", "nsz", "arcp"}  # that may be reordered; NaN and infinity stay what they are
_INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # which half of the time to compile would go into

Function = TypeVar("Function", bound=Callable[..., Any])


def job(function: Function) -> Function:
    """Compile a function for Python to call: one that all threads call at once, while others run."""
    return numba.njit(nogil=True, cache=is_kept())(function)


def kernel(function: Function) -> Function:
    """Compile a function that kernels and jobs call."""
    return numba.njit(cache=is_kept(), **_INNER)(function)


def maths(function: Function) -> Function:
    """Compile a kernel whose sums may be reordered, and whose divisions by zero are infinite."""
    return numba.njit(fastmath=MATHS, error_model="numpy", cache=is_kept(), **_INNER)(function)


@cache
def is_kept() -> bool:
    """Whether Numba keeps what it compiles; by this it learns where."""
    folder = working_copy()
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)
    return folder is not None
