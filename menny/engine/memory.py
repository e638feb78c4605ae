"""Releasing freed memory to the system: the C library would keep the small pieces."""

import ctypes
import gc

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
