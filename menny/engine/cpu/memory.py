"""Memory for packed matrices, in large pages: of small ones, the processor would look up a new one every 4 KB."""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

LINE = 64  # bytes of the processor's cache that are read at once
PAGE = 1 << 21  # bytes of a large page
MOST_THREADS = min(4, os.cpu_count() or 1)  # that unpack and copy weights: NumPy lets others run meanwhile
_PART = 1 << 22  # bytes that a thread is worth
_CHUNK = 64 * PAGE  # bytes asked of the system at once; what isn't written to takes no memory


class Arena:
    """Room for the matrices of a model, one behind the other. It is freed when the last array in it goes."""

    def __init__(self) -> None:
        self._free = np.empty(0, np.uint8)

    def copy(self, numbers: np.ndarray) -> np.ndarray:
        """Copy an array of any strides into the arena, in the order of its axes, beginning at a line of the cache."""
        size = -(-numbers.nbytes // LINE) * LINE
        if size > len(self._free):
            self._free = _large_pages(max(size, _CHUNK))
        room, self._free = self._free[: numbers.nbytes], self._free[size:]
        copied = room.view(numbers.dtype).reshape(numbers.shape)
        parts = min(MOST_THREADS, numbers.nbytes // _PART, len(numbers) if numbers.ndim else 0)
        if parts < 2:
            copied[...] = numbers
            return copied
        with ThreadPoolExecutor(parts) as threads:
            whole = zip(np.array_split(copied, parts), np.array_split(numbers, parts), strict=True)
            list(threads.map(lambda pair: np.copyto(*pair), whole))
        return copied


def _large_pages(nbytes: int) -> np.ndarray:
    """Zeros that begin at a large page, where the system has such pages."""
    pages = mmap.mmap(-1, nbytes + PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    numbers = np.frombuffer(pages, np.uint8)
    begin = -numbers.ctypes.data % PAGE
    return numbers[begin : begin + nbytes]
