"""Whoever lets go of a reply, by whatever way, frees its place for the next."""

import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from menny.engine import Chunk, Engine, Progress, worker
from menny.engine.runtime import RequestControl, Runtime
from tests.engine.scripts import TEXT
from tests.engine.serving import ENDLESS, begun, caches_made, say, start, text


@pytest.fixture
def engine(engine_for_one: Engine) -> Engine:
    """An engine with a single place, so that it shows who holds it."""
    return engine_for_one


class Halt(BaseException):
    """What a page's framework raises to stop a script; not an Exception."""


def test_cancelling_from_another_thread_ends_a_reply_and_frees_the_place(engine):
    stream = start(engine, "B", ENDLESS)
    chunks: list[Chunk] = []
    first = threading.Event()

    def consume() -> None:
        for chunk in stream:
            chunks.append(chunk)
            first.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    first.wait()
    stream.cancel()
    assert say(engine, "A") == TEXT
    consumer.join()
    assert chunks[-1].finish_reason == "cancelled"
    assert text(chunks) == ("xyz" * len(chunks))[: len(text(chunks))]
    assert chunks[-1].completion_tokens == len(text(chunks)) == len(chunks)


def test_cancelling_twice_or_after_the_end_changes_nothing(engine):
    stream = begun(start(engine, "B", ENDLESS))
    stream.cancel()
    stream.cancel()
    assert list(stream)[-1].finish_reason == "cancelled"
    stream.cancel()
    assert list(stream) == []
    finished = start(engine, "A")
    assert text(list(finished)) == TEXT
    finished.cancel()
    assert say(engine, "A") == TEXT


def test_a_stream_that_nobody_holds_any_more_frees_its_place(engine):
    stream = begun(start(engine, "B", ENDLESS))
    del stream
    assert say(engine, "A") == TEXT


def test_a_loop_that_is_left_frees_its_place(engine):
    for chunk in start(engine, "B", ENDLESS):
        if chunk.completion_tokens == 3:
            break
    assert say(engine, "A") == TEXT


def test_a_closed_stream_yields_no_more_and_frees_its_place(engine):
    stream = begun(start(engine, "B", ENDLESS))
    stream.close()
    assert list(stream) == []
    assert say(engine, "A") == TEXT


def test_a_stream_let_go_of_before_its_turn_is_passed_over(engine, monkeypatch):
    caches = caches_made(monkeypatch)
    first = begun(start(engine, "B", ENDLESS))
    waiting = start(engine, "B", ENDLESS)
    del waiting
    first.cancel()
    assert say(engine, "A") == TEXT
    assert len(caches) == 2  # the first's and the last's


def test_a_stream_cancelled_before_its_turn_says_so_at_once(engine):
    first = begun(start(engine, "B", ENDLESS))
    waiting = start(engine, "A")
    waiting.cancel()
    (chunk,) = waiting
    assert (chunk.finish_reason, chunk.text, chunk.token, chunk.prompt_tokens) == ("cancelled", "", None, 1)
    assert next(first).finish_reason is None  # untouched
    first.cancel()


@pytest.mark.parametrize("stop", [Halt, ValueError, KeyboardInterrupt])
def test_a_consumer_stopped_within_its_callback_frees_its_place(engine, stop):
    def halt(_: Progress) -> None:
        raise stop

    first = begun(start(engine, "B", ENDLESS))
    waiting = start(engine, "B", ENDLESS, on_progress=halt)
    with pytest.raises(stop):
        next(waiting)
    first.cancel()
    assert say(engine, "A") == TEXT
    assert [chunk.finish_reason for chunk in waiting] == ["cancelled"]


def test_a_consumer_stopped_within_its_callback_while_its_own_prefill_runs_frees_its_place(engine, monkeypatch):
    ended = threading.Event()

    async def slow(runtime: Runtime, prompt: Any, params: Any, control: RequestControl) -> AsyncGenerator[Chunk]:
        while not control.is_cancelled():
            pass
        ended.set()
        yield Chunk("", finish_reason="cancelled")

    def halt(_: Progress) -> None:
        raise Halt

    monkeypatch.setattr(worker, "generate", slow)
    with pytest.raises(Halt):
        list(start(engine, "q", on_progress=halt))
    ended.wait()
    monkeypatch.undo()
    assert say(engine, "A") == TEXT
