"""Returning memory to the system: what was freed, as the C library would keep small pieces, and the compiler's code."""

import ctypes
import gc
import mmap
import re
from pathlib import Path

import mlx.core as mx


def release_memory() -> None:
    """Release the memory of a model that is gone, and end the calling thread's use of MLX."""
    gc.collect()
    mx.synchronize()
    mx.clear_streams()  # as MLX asks of every thread, or the process may abort at its end
    return_freed_memory()


def return_freed_memory() -> None:
    """Return to the system what was needed for a while only, as for loading a model."""
    mx.clear_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others release by themselves
    if trim is not None:
        trim(0)


def active_memory() -> int:
    """The bytes that arrays hold at this moment, which shows the progress of a model's loading."""
    return int(mx.get_active_memory())


def return_compiler() -> None:
    """Return the code of LLVM, 70 MB that are only called while kernels are compiled or read.

    The system reads it from its file again if it is called after all. Only pages that are as in the file are returned.
    """
    maps = Path("/proc/self/smaps")
    if not maps.is_file():
        return
    libc = ctypes.CDLL(None)
    for lines in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps.read_text(), flags=re.MULTILINE):
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-.p .*/libllvmlite\S*\n", lines)
        if found and re.search(r"^Anonymous: +0 kB", lines, re.MULTILINE):
            begin, end = (int(number, 16) for number in found.groups())
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
