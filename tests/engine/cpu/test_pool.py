"""Work goes to all threads while that pays, and to one while others need the cores."""

import threading
import time
import weakref

import numpy as np
import pytest

from menny.engine.cpu.pool import Pace, Pool, default_threads


def observe(pace: Pace, *seconds: float) -> None:
    for step in seconds:
        pace.observe(step)


@pytest.fixture
def pace() -> Pace:
    """A pace of four threads that knows what a step by one thread takes."""
    pace = Pace(4)
    observe(pace, 0.1, 0.1)
    return pace


def test_all_threads_are_used_while_steps_keep_their_pace(pace: Pace) -> None:
    for step in range(500):
        pace.observe(0.07 + step * 1e-4)  # a growing context makes steps slower, slowly
        assert pace.in_use == 4


def test_slow_steps_leave_the_work_to_one_thread_for_a_while(pace: Pace) -> None:
    observe(pace, *[2.7] * Pace.PATIENCE)
    assert pace.in_use == 1
    observe(pace, *[0.1] * 3)
    assert pace.in_use == 4


def test_one_slow_step_is_chance(pace: Pace) -> None:
    for _ in range(9):
        observe(pace, 2.7, 0.07)
        assert pace.in_use == 4


def test_all_threads_are_tried_ever_more_rarely_while_others_hold_the_cores(pace: Pace) -> None:
    slow, alone = 0, 0
    for _ in range(1000):
        slow, alone = slow + (pace.in_use == 4), alone + (pace.in_use == 1)
        pace.observe(2.7 if pace.in_use == 4 else 0.1)
    assert slow < 40
    assert alone > 900


def test_a_machine_that_is_busy_from_the_start_is_noticed() -> None:
    pace = Pace(4)
    for _ in range(20):
        pace.observe(2.7 if pace.in_use == 4 else 0.1)
    assert pace.in_use == 1


def test_one_thread_is_never_watched() -> None:
    pace = Pace(1)
    observe(pace, 0.1, 3.0, 0.1)
    assert pace.in_use == 1


def test_a_thread_that_stays_behind_keeps_no_arrays() -> None:
    pool, may_go_on, arrays = Pool(2), threading.Event(), []

    def work(array: np.ndarray, _: int, number: int) -> None:
        if number == 0:
            arrays.append(weakref.ref(array))
        else:
            may_go_on.wait(20)

    for _ in range(50):
        pool.run(work, (np.zeros(9),), 256)
    assert sum(array() is not None for array in arrays) <= 2  # of the job that it is at, and of the last one
    may_go_on.set()


def test_every_thread_is_called_with_one_address_and_its_number() -> None:
    pool, calls = Pool(3), []
    everybody = threading.Barrier(3)

    def work(word: str, address: int, number: int) -> None:
        calls.append((word, address % 64, number))
        everybody.wait(5)

    pool.run(work, ("go",), 256)
    assert sorted(calls) == [("go", 0, 0), ("go", 0, 1), ("go", 0, 2)]
    calls.clear()
    everybody = threading.Barrier(1)
    pool.run(work, ("alone",), 256, threads=1)
    assert calls == [("alone", 0, 0)]


def test_a_pools_threads_end_with_it() -> None:
    before = set(threading.enumerate())  # threads of other pools may end meanwhile
    pool = Pool(3)
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    del pool
    end = time.monotonic() + 60
    while any(thread.is_alive() for thread in own) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in own)


def test_by_default_there_are_no_more_threads_than_openblas_is_told_to_use() -> None:
    assert default_threads() >= 1
