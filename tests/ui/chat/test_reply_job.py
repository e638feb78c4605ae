"""Replies at once: one engine for all, changed only when nobody uses it, and no text is lost."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from menny.chat import Chat, ReplySettings
from menny.engine import SamplingParams
from menny.engine_protocols import Progress
from menny.errors import ModelError
from menny.storage import MessageNode
from menny.ui.chat.conversation import measures, waiting_for
from menny.ui.chat.reply_job import ReplyJob, watch
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine
from tests.ui.fake_engine import FakeEngine, parrot

ONE, TWO = Path("one.gguf"), Path("two.gguf")


def never() -> bool:
    return False


def hear_nothing(phase: str) -> None:
    del phase


def reply(chat: Chat, text: str, engines: SharedEngine, path: Path = ONE) -> ReplyJob:
    settings = ReplySettings(SamplingParams(), template="chatml")
    return ReplyJob(chat, chat.begin(text), "Model", path, settings, engines).start()


def said(run: ReplyJob) -> str:
    """What stands in the chat as the reply."""
    return next(entry.text for entry in run.chat.entries if entry.id == run.reply.id)


def wait_until(condition: Callable[[], bool]) -> None:
    moment = threading.Event()
    while not condition():
        moment.wait(0.005)


def test_two_replies_at_once_are_both_whole() -> None:
    engines = SharedEngine(lambda path: FakeEngine(parrot, pause=0.01))
    chats = [Chat(), Chat()]
    runs = [reply(chat, f"tab {number}", engines) for number, chat in enumerate(chats)]
    for run in runs:
        run.join()
    assert [said(run) for run in runs] == ["You said: tab 0 ", "You said: tab 1 "]


def test_the_second_reply_knows_that_it_waits() -> None:
    engine = FakeEngine(parrot)
    engines = SharedEngine(lambda path: engine)
    engine.turn.acquire()
    run = reply(Chat(), "hello", engines)
    wait_until(lambda: run.progress.phase == "waiting")
    assert waiting_for(run.progress, "Model", "Menny") == "Waiting: 1 request ahead …"
    engine.turn.release()
    run.join()
    assert said(run) == "You said: hello "


def test_a_reply_on_another_model_ends_before_its_engine_is_given_back() -> None:
    made: list[FakeEngine] = []

    def load(path: Path) -> FakeEngine:
        assert all(engine.closed for engine in made)
        made.append(FakeEngine(parrot, pause=0.02))
        return made[-1]

    engines = SharedEngine(load)
    first = reply(Chat(), "a reply of some length", engines, ONE)
    wait_until(lambda: engines.holds(ONE))
    second = reply(Chat(), "on another model", engines, TWO)
    wait_until(lambda: second.progress.phase == "busy" or second.is_over)
    first.join()
    second.join()
    assert said(first) == "You said: a reply of some length "
    assert said(second) == "You said: on another model "
    assert [engine.closed for engine in made] == [True, False]


def test_who_waits_for_another_model_is_not_overtaken() -> None:
    engines = SharedEngine(lambda path: FakeEngine(parrot))
    order: list[str] = []
    with engines.borrow(ONE, hear_nothing, never):
        threads = []
        for name, path in (("two", TWO), ("one again", ONE)):

            def use(name: str = name, path: Path = path) -> None:
                with engines.borrow(path, hear_nothing, never):
                    order.append(name)

            threads.append(threading.Thread(target=use))
            threads[-1].start()
            wait_until(lambda: len(engines._queue) == len(threads))
    for thread in threads:
        thread.join()
    assert order == ["two", "one again"]


def test_a_model_that_cannot_be_loaded_leaves_the_others_usable() -> None:
    def load(path: Path) -> FakeEngine:
        if path == TWO:
            raise ModelError("two.gguf is cut off.")
        return FakeEngine(parrot)

    engines = SharedEngine(load)
    chat = Chat()
    for text, path in (("one", ONE), ("two", TWO), ("one more", ONE)):
        reply(chat, text, engines, path).join()
    assert [entry.error for entry in chat.entries[1::2]] == ["", "two.gguf is cut off.", ""]
    assert chat.entries[5].text == "You said: one more "


def test_a_reply_stopped_while_it_waits_for_an_engine_asks_for_none() -> None:
    loaded: list[Path] = []

    def load(path: Path) -> FakeEngine:
        loaded.append(path)
        return FakeEngine(parrot)

    engines = SharedEngine(load)
    with engines.borrow(ONE, hear_nothing, never):
        run = reply(Chat(), "hello", engines, TWO)
        wait_until(lambda: run.progress.phase == "busy")
        run.cancel()
        run.join()
    assert run.reply.finish_reason == "cancelled"
    assert loaded == [ONE]


@pytest.mark.parametrize("phase", ["loading", "preparing"])
def test_who_waits_for_a_model_that_another_is_loading_hears_of_the_loading(phase: str) -> None:
    go_on = threading.Event()

    def load(path: Path) -> FakeEngine:
        go_on.wait(60)
        return FakeEngine(parrot)

    engines = SharedEngine(load, lambda path: phase == "preparing")
    first = reply(Chat(), "hello", engines, ONE)
    wait_until(lambda: engines.loading == ONE)
    heard: dict[Path, list[str]] = {ONE: [], TWO: []}
    for path, phases in heard.items():
        with pytest.raises(LoanCancelled), engines.borrow(path, phases.append, lambda: bool(phases)):  # noqa: B023
            raise AssertionError
    go_on.set()
    first.join()
    assert heard == {ONE: [phase], TWO: ["busy"]}


def test_a_loan_that_is_cancelled_leaves_the_queue() -> None:
    engines = SharedEngine(lambda path: FakeEngine(parrot))
    with pytest.raises(LoanCancelled), engines.borrow(ONE, hear_nothing, lambda: True):
        pass
    assert len(engines._queue) == 0


def test_a_stopped_reply_keeps_what_was_said_and_frees_the_engine() -> None:
    engines = SharedEngine(lambda path: FakeEngine(parrot, pause=0.02))
    chat = Chat()
    run = reply(chat, "word " * 500, engines)
    wait_until(lambda: "word" in run.reply.text)
    run.cancel()
    run.join()
    assert run.reply.text.startswith("You said: word")
    assert run.reply.finish_reason == "cancelled"
    next_run = reply(chat, "short", engines)
    next_run.join()
    assert said(next_run) == "You said: short "


def test_watching_draws_until_the_end() -> None:
    run = reply(Chat(), "hello there", SharedEngine(lambda path: FakeEngine(parrot, pause=0.01)))
    seen: list[str] = []
    watch(run, lambda: seen.append(run.reply.text), interval=0.0)
    assert seen
    assert run.is_over


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress("loading"), "Loading Little …"),
        (Progress("busy"), "Waiting: another chat is using the engine. Little is next …"),
        (Progress("waiting", 0, 3), "Waiting: 3 requests ahead …"),
        (Progress("summarizing", 3, 200), "Summarizing earlier messages …"),
        (Progress("prefill"), "Menny is reading …"),
    ],
)
def test_a_reply_without_a_word_says_what_it_waits_for(progress: Progress, line: str) -> None:
    assert waiting_for(progress, "Little", "Menny") == line


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        ("whole", "length", "Little · cut at max tokens"),
        ("whole", "cancelled", "Little · stopped"),
        ("interrupted", None, "Little · interrupted"),
        ("growing", None, "Little · being written in another window"),
    ],
)
def test_a_reply_that_ended_early_says_why(status: Any, reason: Any, line: str) -> None:
    assert measures(MessageNode("id", None, "assistant", "Hi", status, reason), "Little") == line
