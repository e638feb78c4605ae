"""Deleting while a reply is being written: what is deleted is no longer being written, and nothing else is touched."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from menny.chat import ReplySettings
from menny.engine import SamplingParams
from menny.models.loader import ModelSource
from menny.ui.chat.chats import Chats
from menny.ui.session import Session
from menny.ui.shared import shared_engine
from tests.ui.browsing import Visitor
from tests.ui.chat.test_reply_job import wait_until
from tests.ui.fake_engine import FakeEngine, last_question

SETTINGS = ReplySettings(SamplingParams(), template="chatml")


def endless(prompt: str) -> Iterator[str]:
    """A count without an end for "count", one word for all others."""
    return (f"{number} " for number in itertools.count()) if last_question(prompt) == "count" else iter(["ok"])


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(shared_engine, "load_engine", lambda path: FakeEngine(endless, pause=0.005))
    shared_engine.shared_engine.clear()
    chats = Chats(tmp_path / "chats.db")
    return Session(chats, chats.new())


def send(session: Session, text: str) -> None:
    session.ask(text)
    answer(session)


def answer(session: Session) -> None:
    assert session.send("menny", "model", "Model", ModelSource(Path("model.gguf")), SETTINGS)


def wait_for_reply(session: Session) -> None:
    wait_until(lambda: session.job is None)


def begin_counting(session: Session) -> None:
    """A question with its reply, then one whose reply doesn't end."""
    send(session, "hello")
    wait_for_reply(session)
    send(session, "count")
    wait_until(lambda: session.job is None or len(session.job.reply.text) > 10)


@pytest.mark.parametrize("place", range(4), ids=["the first question", "its reply", "the question", "the reply"])
def test_a_reply_that_is_deleted_as_it_is_written_is_cancelled(session: Session, place: int) -> None:
    begin_counting(session)
    job = session.job
    assert job
    session.delete(session.chat.entries[place].id)
    assert session.job is None  # so that the box is free at once
    assert len(session.chat.entries) == place
    job.join()
    assert job.reply.finish_reason == "cancelled"
    send(session, "hello again")
    wait_for_reply(session)
    assert [entry.text for entry in session.chat.entries[place:]] == ["hello again", "ok"]


def test_what_was_deleted_comes_back_as_a_stopped_reply(session: Session) -> None:
    begin_counting(session)
    job = session.job
    assert job
    session.delete(session.chat.entries[2].id)
    job.join()
    session.undo_deletion()
    reply = session.chat.entries[3]
    assert (reply.status, reply.finish_reason, reply.text) == ("whole", "cancelled", job.reply.text)
    assert reply.can_go_on


def test_deleting_another_version_leaves_the_reply_alone(session: Session) -> None:
    send(session, "hello")
    wait_for_reply(session)
    older = session.chat.entries[1].id
    send(session, "count")
    wait_until(lambda: session.job is None or len(session.job.reply.text) > 10)
    session.stop()
    wait_for_reply(session)
    session.regenerate(session.chat.entries[3].id)
    answer(session)
    job = session.job
    assert job
    other = next(one for one in session.chat.entries[3].alternatives if one != job.reply.id)
    session.delete(other)
    assert session.job is job
    assert not job.reply.is_cancelled
    session.delete(older)
    job.join()
    assert job.reply.is_cancelled


def test_a_reply_deleted_while_its_model_loads_asks_it_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, loaded = FakeEngine(endless), threading.Event()

    def load(path: Path) -> FakeEngine:
        loaded.wait(30)
        return engine

    monkeypatch.setattr(shared_engine, "load_engine", load)
    shared_engine.shared_engine.clear()
    send(session, "count")
    job = session.job
    assert job
    wait_until(lambda: job.progress.phase == "loading")
    session.delete(session.chat.entries[0].id)
    assert session.job is None
    loaded.set()
    job.join()
    assert (engine.prompts, job.reply.finish_reason) == ([], "cancelled")


@pytest.mark.parametrize("leave", [Session.stop, lambda session: session.chats.abandon(session.chat.id)])
def test_a_reply_ends_once(session: Session, leave: Callable[[Session], None]) -> None:
    begin_counting(session)
    job = session.job
    assert job
    leave(session)
    leave(session)
    job.join()
    assert session.job is None
    assert job.reply.finish_reason == "cancelled"


@pytest.mark.browser
@pytest.mark.slow
def test_deleting_the_question_in_mid_reply_cancels_the_reply(browser: Browser, staged: str) -> None:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), staged)
        visitor.say("hello until rung")
        expect(visitor.messages.nth(1)).to_contain_text("3 ")
        visitor.messages.first.get_by_role("button", name="Delete from here").click()
        expect(visitor.messages).to_have_count(0)  # but for the greeting
        expect(visitor.box).to_be_enabled()
        expect(visitor.stop_button).to_have_count(0)
        expect(visitor.page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
        visitor.say("next")  # which waits for the engine, if the other reply still has it
        assert "The end." in visitor.wait_for_reply()
