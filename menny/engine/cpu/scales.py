"""The forms that scales and biases are kept in, each matrix's in as few bytes as are exact.

| form | [rows / 16, …] |
| --- | --- |
| FLOAT32 | float32 [groups, 16] |
| FLOAT16 | float16 [groups, 16] |
| from 2 on | bytes [columns / 256, 64 + 16 n]: 16 units in float32, then n times 16 steps; a scale is unit · step |

The last is how GGUF's K-quants have them, where 256 columns are a block of n = 2^form groups. Every 16 rows are
interleaved, as in matrix.py.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from menny.engine.cpu.memory import MOST_THREADS

FLOAT32, FLOAT16 = 0, 1  # forms
ROWS = 16  # of a tile
BLOCK = 256  # columns of a unit
_UNITS = 4 * ROWS  # bytes of 16 units
_LIKELY = [63, -128, 31, -32, 15]  # steps of the largest scale of a block, as llama.cpp mostly writes them
_OTHERS = chain.from_iterable(zip(range(64, 0, -1), range(127, 63, -1), strict=True))
_TRIED = np.array(list(dict.fromkeys([*_LIKELY, *_OTHERS])))
_PIECE = 1 << 16  # blocks that a thread takes

Floats = NDArray[np.float32]
Scales = NDArray[np.generic]  # kept in one of the forms, which their type tells


def form_of(kept: Scales, group: int) -> int:
    """The form's number, for groups of this size."""
    return {"f4": FLOAT32, "f2": FLOAT16}.get(kept.dtype.str[1:], form_in_steps(group))


def form_in_steps(group: int) -> int:
    """The number of the form in units and steps, for groups of this size."""
    return (BLOCK // group).bit_length() - 1


def scale_bytes(form: int, groups: int) -> int:
    """The bytes that so many scales take in this form: those of a row, for the kernels."""
    if form > FLOAT16:
        return (groups >> form) * (4 + (1 << form))
    return groups * (2 if form == FLOAT16 else 4)


def small_as_exact(parts: Sequence[Floats], group: int) -> list[Scales]:
    """Scales, and biases, of groups of this size [..., groups]: all in the smallest form in which they are exact.

    Those in units and steps are bytes [..., columns / 256, 4 + n].
    """
    with np.errstate(all="ignore"):
        if all(_fits_half(part) for part in parts):
            return [part.astype(np.float16) for part in parts]
        kept: list[Scales] = []
        for part in parts:
            in_steps = _in_steps(part, group)
            if in_steps is None:
                return list(parts)
            kept.append(in_steps)
    return kept


def interleaved(kept: Scales) -> Scales:
    """Rows [blocks, 16, …], each in its form, with every 16 interleaved as the kernels read them."""
    if kept.dtype != np.uint8:
        return kept.swapaxes(1, 2)
    units, steps = kept[..., :4].swapaxes(1, 2), kept[..., 4:].transpose(0, 2, 3, 1)  # [blocks, columns / 256, …]
    parts = [part.reshape(*part.shape[:2], -1) for part in (units, steps)]
    return np.concatenate(parts, axis=-1)


def as_floats(kept: Scales) -> Floats:
    """Interleaved scales [blocks, …] as float32 [blocks, groups, 16]."""
    if kept.dtype != np.uint8:
        return kept.astype(np.float32)
    blocks, columns, _ = kept.shape
    units = np.ascontiguousarray(kept[..., :_UNITS]).view(np.float32)
    steps = kept[..., _UNITS:].view(np.int8).reshape(blocks, columns, -1, ROWS)
    return (units[:, :, None] * steps).reshape(blocks, -1, ROWS)


def _fits_half(numbers: Floats) -> bool:
    return bool(np.array_equal(numbers.astype(np.float16).astype(np.float32), numbers, equal_nan=True))


def _in_steps(scales: Floats, group: int) -> Scales | None:
    """Scales [..., groups] in units and steps, if there are any that give them exactly."""
    if group > 2 * ROWS or scales.shape[-1] * group % BLOCK:
        return None
    blocks = scales.reshape(-1, BLOCK // group)
    kept, compiled = np.empty((len(blocks), 4 + blocks.shape[1]), np.uint8), _compiled()

    def divide(start: int) -> bool:
        piece = blocks[start : start + _PIECE]
        units, steps = np.zeros((len(piece), 1), np.float32), np.zeros(piece.shape, np.int8)
        are_multiples = bool(compiled(piece, _TRIED, units, steps))
        kept[start : start + _PIECE] = np.concatenate([units.view(np.uint8), steps.view(np.uint8)], axis=1)
        return are_multiples

    with ThreadPoolExecutor(MOST_THREADS) as threads:
        if not all(threads.map(divide, range(0, len(blocks), _PIECE))):
            return None
    return kept.reshape(*scales.shape[:-1], -1, kept.shape[1])


@cache
def _compiled() -> Callable[..., bool]:
    """Return `_divide` as Numba compiles it, where Numba is there."""
    try:
        from menny.engine.cpu.compiling import job  # noqa: PLC0415 - it is optional
    except ImportError:
        return _divide
    return job(_divide)


def _divide(blocks: Floats, tried: NDArray[np.int64], units: Floats, steps: NDArray[np.int8]) -> bool:
    """Find a unit [n, 1] and steps [n, m] that give the numbers of each block exactly; False where a block has none.

    The steps of its largest number are `tried` one by one.
    """
    for number in range(len(blocks)):
        block, largest = blocks[number], np.float32(0)
        for scale in block:
            if abs(scale) > abs(largest):
                largest = scale
        found = False
        for most in tried:
            unit = largest / np.float32(most)
            inverse = np.float32(1) / unit if unit != 0 else np.float32(0)
            found = True
            for place in range(len(block)):
                step = np.rint(block[place] * inverse)
                found = -128 <= step <= 127 and step * unit == block[place]
                if not found:
                    break
                steps[number, place] = np.int8(step)
            if found:
                units[number, 0] = unit
                break
        if not found:
            return False
    return True
