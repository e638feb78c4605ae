"""Memory that is free again goes back to the system: the C library would keep what it got in small pieces."""

import ctypes
import gc

import mlx.core as mx


def release_memory() -> None:
    """Give back what a model's end has freed. Of the calling thread's MLX nothing is left afterwards."""
    gc.collect()
    mx.synchronize()
    mx.clear_cache()
    mx.clear_streams()  # MLX asks every thread to, or the process may abort at its end
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others give back by themselves
    if trim is not None:
        trim(0)


def active_memory() -> int:
    """Bytes that arrays hold at this moment: while a model is loaded, how far that is."""
    return int(mx.get_active_memory())
