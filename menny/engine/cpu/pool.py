"""The threads that multiply: they wait for a function of Numba's, and all call it at once."""

import os
import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import psutil

from menny.engine.cpu.arrays import check_order
from menny.engine.cpu.blas import n_threads

Work = Callable[..., None]
_Jobs = queue.SimpleQueue[tuple[Work, tuple[Any, ...], np.ndarray] | None]


def default_threads() -> int:
    """As many as this process may use physical cores, or fewer, if OpenBLAS is to use fewer."""
    cores = psutil.cpu_count(logical=False) or 1
    return max(1, min(cores, len(os.sched_getaffinity(0)), n_threads()))


class Pool:
    """As many threads as are asked for, the caller's among them. They end with the pool."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or default_threads()
        self.pace = Pace(self.threads)
        self._jobs: list[_Jobs] = [queue.SimpleQueue() for _ in range(self.threads - 1)]
        for number, jobs in enumerate(self._jobs, start=1):
            threading.Thread(target=_serve, args=(jobs, number), name=f"multiply {number}", daemon=True).start()
        weakref.finalize(self, _dismiss, self._jobs)

    def run(self, work: Work, args: tuple[Any, ...], stage_bytes: int, threads: int | None = None) -> None:
        """Call work(*args, address, number) in all threads, or in this many.

        They share `stage_bytes` zeros at the address; of their numbers, 0 is the caller's.

        Returns when the caller's own call does: a stage of work that it waits for is done by then, whoever did it.
        Another thread may still be on its way out, so the counters are never used again.
        """
        check_order(args)
        counters = np.zeros(stage_bytes + 64, np.uint8)
        for jobs in self._jobs[: (threads or self.threads) - 1]:
            _drop_late(jobs)
            jobs.put((work, args, counters))
        work(*args, _aligned(counters), 0)


class Pace:
    """How many threads decode: all while that pays, one while others need the cores.

    Where another program holds a core, as a browser on a small machine does, a thread that lost its core keeps a piece
    of work, and all wait for it. So after some slow steps the next ones are done by one thread, and later all are tried
    again, ever more rarely. The second step of all is done by one thread, to know what that takes.
    """

    SLOW = 1.8  # times the usual step
    PATIENCE = 2  # slow steps in a row: one may be slow by chance
    FIRST_PAUSE, LAST_PAUSE = 0.25, 8.0  # seconds of steps done by one thread before all are tried again

    def __init__(self, threads: int) -> None:
        self._all = threads
        self.in_use = threads
        self._usual: float | None = None  # seconds of a step
        self._pause = self.FIRST_PAUSE
        self._left = 0.0  # seconds still to be spent by one thread
        self._slow = 0  # steps in a row

    def observe(self, seconds: float) -> None:
        """Take in the seconds of a decoding step, and choose the threads of the next."""
        if self._all == 1:
            return
        if self.in_use == 1:
            self._left -= seconds
            if self._left <= 0:
                self._usual = seconds  # by one thread: all should not take longer
                self.in_use = self._all
        elif self._usual is None:
            self._go_alone(0.0)
        elif seconds > self.SLOW * self._usual:
            self._slow += 1
            if self._slow == self.PATIENCE:
                self._go_alone(self._pause)
                self._pause = min(2 * self._pause, self.LAST_PAUSE)
        else:
            self._slow = 0
            self._usual = min(1.02 * self._usual, seconds)
            self._pause = max(self.FIRST_PAUSE, self._pause - seconds)

    def _go_alone(self, seconds: float) -> None:
        self._left = seconds
        self._slow = 0
        self.in_use = 1


def _aligned(counters: np.ndarray) -> int:
    return -(-counters.ctypes.data // 64) * 64


def _drop_late(jobs: _Jobs) -> None:
    """Drop a job that its thread hasn't come to: others have done it.

    On a busy machine a thread may stay behind for long, and all that it still had to come to would keep its arrays.
    """
    with suppress(queue.Empty):
        jobs.get_nowait()


def _serve(jobs: _Jobs, number: int) -> None:
    while (job := jobs.get()) is not None:
        work, args, counters = job
        work(*args, _aligned(counters), number)
        del job, work, args, counters


def _dismiss(all_jobs: list[_Jobs]) -> None:
    for jobs in all_jobs:
        jobs.put(None)
