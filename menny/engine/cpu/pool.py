"""The threads that multiply: they wait for a function of Numba's, and all call it at once."""

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

Work = Callable[..., None]
_Jobs = queue.SimpleQueue[tuple[Work, tuple[Any, ...], np.ndarray] | None]


class Pool:
    """As many threads as are asked for, the caller's among them. They end with the pool."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.in_use = threads
        self._jobs: list[_Jobs] = [queue.SimpleQueue() for _ in range(threads - 1)]
        for number, jobs in enumerate(self._jobs, start=1):
            threading.Thread(target=_serve, args=(jobs, number), name=f"multiply {number}", daemon=True).start()
        weakref.finalize(self, _dismiss, self._jobs)

    def run(self, work: Work, args: tuple[Any, ...], stage_bytes: int) -> None:
        """Call work(*args, address, number) in every thread: the address of so many bytes of zeros that all share, and which
        of the threads it is, 0 being the caller.

        Returns when the caller's own call does: a stage of work that it waits for is done by then, whoever did it.
        Another thread may still be on its way out, so the counters are never used again.
        """
        counters = np.zeros(stage_bytes + 64, np.uint8)
        for jobs in self._jobs[: self.in_use - 1]:
            jobs.put((work, args, counters))
        work(*args, _aligned(counters), 0)


def _aligned(counters: np.ndarray) -> int:
    return -(-counters.ctypes.data // 64) * 64


def _serve(jobs: _Jobs, number: int) -> None:
    while (job := jobs.get()) is not None:
        work, args, counters = job
        work(*args, _aligned(counters), number)
        del job, work, args, counters


def _dismiss(all_jobs: list[_Jobs]) -> None:
    for jobs in all_jobs:
        jobs.put(None)
