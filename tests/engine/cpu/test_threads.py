"""How many BLAS threads a decoding step gets."""

import pytest

from menny.engine.cpu.blas import Threads


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> tuple[Threads, list[int]]:
    """Threads over a library of four, and what they were set to."""
    threads, settings = Threads(), [4]
    monkeypatch.setattr(threads, "_set", settings.append)
    monkeypatch.setattr(threads, "_all", 4)
    return threads, settings


def begin(threads: Threads, seconds: float = 0.1) -> None:
    """The first steps, by one thread; then all are used."""
    for _ in range(1 + Threads.TRIAL):
        threads.observe(seconds)


def test_all_threads_are_used_while_steps_keep_their_pace(chosen: tuple[Threads, list[int]]) -> None:
    threads, settings = chosen
    begin(threads)
    for step in range(500):
        threads.observe(0.07 + step * 1e-4)  # a growing context makes steps slower, slowly
    assert settings == [4, 1, 4]


def test_a_slow_step_leaves_the_work_to_one_thread_for_a_while(chosen: tuple[Threads, list[int]]) -> None:
    threads, settings = chosen
    begin(threads)
    threads.observe(2.7)
    assert settings[-1] == 1
    for _ in range(Threads.FIRST_PAUSE):
        threads.observe(0.1)
    assert settings[-1] == 4


def test_all_threads_are_tried_ever_more_rarely_while_others_hold_the_cores(
    chosen: tuple[Threads, list[int]],
) -> None:
    threads, settings = chosen
    begin(threads)
    slow = 0
    for _ in range(5000):
        threads.observe(2.7 if settings[-1] == 4 else 0.1)
        slow += settings[-1] == 4
    assert slow < 12


def test_a_machine_that_is_busy_from_the_start_is_noticed(chosen: tuple[Threads, list[int]]) -> None:
    threads, settings = chosen
    for _ in range(20):
        threads.observe(2.7 if settings[-1] == 4 else 0.1)
    assert settings[-1] == 1


def test_between_replies_all_threads_are_back_and_the_next_reply_goes_on_as_the_last(
    chosen: tuple[Threads, list[int]],
) -> None:
    threads, settings = chosen
    begin(threads)
    threads.begin()
    assert settings[-1] == 4
    threads.observe(2.7)
    threads.end()
    assert settings[-1] == 4
    threads.begin()
    assert settings[-1] == 1
    for _ in range(Threads.FIRST_PAUSE):
        threads.observe(0.1)
    assert settings[-1] == 4


def test_a_reply_that_must_not_vary_leaves_a_core_to_others_whatever_was_before(
    chosen: tuple[Threads, list[int]],
) -> None:
    threads, settings = chosen
    begin(threads)
    for step in (0.1, 2.7):
        threads.observe(step)
        threads.begin(steady=True)
        assert settings[-1] == 3
        threads.end()
        assert settings[-1] == 4


def test_without_openblas_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads()
    monkeypatch.setattr(threads, "_set", None)
    threads.begin()
    for seconds in (0.1, 3.0, 0.1):
        threads.observe(seconds)
    threads.end()
    assert not threads._left
