"""Chats in the page: long ones are light to open, and a store that fails is told in a sentence."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from menny.storage import ChatStore, Conversation, MessageNode, Transcript, new_id
from menny.ui.session import KEY
from tests.ui.conftest import PAGE, Stage, say, texts


def long_chat(turns: int) -> Transcript:
    entries: list[MessageNode] = []
    for number in range(turns):
        above = entries[-1].id if entries else None
        question = MessageNode(new_id(), above, "user", f"question {number}", created=number)
        reply = MessageNode(new_id(), question.id, "assistant", f"reply {number}", finish_reason="stop", created=number)
        entries += [question, reply]
    conversation = Conversation(new_id(), "A long one", created=1.0, updated=time.time())
    return Transcript(conversation, tuple(entries), tuple(entry.id for entry in entries))


def open_chat(chat: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["chat"] = chat
    return page.run()


def test_of_a_long_chat_the_latest_messages_are_drawn_and_earlier_ones_on_demand(stage: Stage) -> None:
    chat = long_chat(1000)
    store = ChatStore(stage.home / "chats.db")
    store.merge([chat])
    store.close()
    page = open_chat(chat.conversation.id)
    assert len(page.chat_message) == 30
    assert texts(page)[0].startswith("question 985")
    assert texts(page)[-1].startswith("reply 999")
    assert page.button(key="earlier").label == "Show earlier messages (1,970)"
    page.button(key="earlier").click().run()
    assert len(page.chat_message) == 150
    assert texts(page)[0].startswith("question 925")


def test_a_message_that_was_found_further_up_is_drawn_with_all_that_follows(stage: Stage) -> None:
    chat = long_chat(200)
    store = ChatStore(stage.home / "chats.db")
    store.merge([chat])
    store.close()
    page = stage.open_page()
    page.text_input(key="search").set_value("reply 100").run()
    page.button(key=f"found-{chat.conversation.id}").click().run()
    assert not page.exception
    assert texts(page)[0].startswith("reply 100")
    assert texts(page)[-1].startswith("reply 199")
    page.text_input(key="search").set_value("reply 190").run()
    page.button(key=f"found-{chat.conversation.id}").click().run()
    assert len(page.chat_message) == 30


def damage(page: AppTest, file: Path) -> None:
    """Overwrite a store that is open, and let those who have it open see that it is another.

    A title is asked for in the quiet after a reply, which reads the store: between the two steps, a reader would have
    seen the change already, and keep what it read while that was whole.
    """
    quiet = page.session_state[KEY].chats._quiet
    assert quiet
    quiet.join(30)
    db = sqlite3.connect(file)
    db.execute("UPDATE counters SET value = value + 1")
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\x7f" * (size - 4096))


def rename(page: AppTest) -> AppTest:
    session = page.session_state[KEY]
    session.renaming = session.chat.id
    return page.run()


def delete(page: AppTest) -> AppTest:
    session = page.session_state[KEY]
    session.attempt(lambda: session.chats.store.delete(session.chat.id))
    return page.run()


@pytest.mark.parametrize(
    "act",
    [
        AppTest.run,
        lambda page: page.button(key="new_chat").click().run(),
        lambda page: page.text_input(key="search").set_value("Hello").run(),
        lambda page: open_chat(page.session_state[KEY].chat.id),
        rename,
        delete,
    ],
    ids=["look", "begin", "search", "open", "rename", "delete"],
)
def test_a_store_that_is_damaged_under_an_open_page_is_told_in_a_sentence(
    stage: Stage, act: Callable[[AppTest], AppTest]
) -> None:
    page = say(stage.open_page(), "Hello")
    damage(page, stage.home / "chats.db")
    assert "chats.db is damaged. Restart Menny: what can be read is then saved to a new file." in warnings(act(page))


def test_a_chat_goes_on_while_its_store_is_damaged(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    damage(page, stage.home / "chats.db")
    page.run()
    assert "You said: Hello" in texts(page)[1]
    say(page, "Again")
    assert "You said: Again" in texts(page)[3]
    assert "This chat isn't being saved at the moment. chats.db is damaged" in warnings(page)


def test_on_a_full_disk_the_reply_is_shown_and_the_page_says_that_it_is_not_kept(stage: Stage) -> None:
    stage.engine.context_length = 100_000
    page = say(stage.open_page(), "Hello")
    store = page.session_state[KEY].chats.store
    db = store._database._writer
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    say(page, "A long story. " * 2000)
    assert "You said: A long story." in texts(page)[3]
    assert "This chat isn't being saved at the moment. The disk is full" in warnings(page)
    db.execute("PRAGMA max_page_count = 1000000")
    say(page, "And now?")
    assert "isn't being saved" not in warnings(page)
    assert len(store.path(page.session_state[KEY].chat.id)) == 6


def test_a_store_of_a_newer_menny_is_told_and_what_is_said_is_taken_in_when_it_can_be(stage: Stage) -> None:
    file = stage.home / "chats.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    page = say(stage.open_page(), "Hello")
    told = "Chats aren't being saved at the moment. chats.db: these chats were written by a newer Menny (version 99;"
    assert told in warnings(page)
    assert "You said: Hello" in texts(page)[1]
    db.execute("PRAGMA user_version = 0")
    db.close()
    page.session_state[KEY].chats._next_try = 0.0
    page.run()
    assert not warnings(page)
    assert [entry.text for entry in ChatStore(file).path(page.session_state[KEY].chat.id)] == [
        "Hello",
        "You said: Hello ",
    ]


def test_a_damaged_store_is_set_aside_which_is_told_and_a_new_one_is_begun(stage: Stage) -> None:
    (stage.home / "chats.db").write_bytes(b"no database at all, " * 1000)
    page = say(stage.open_page(), "Hello")
    (aside,) = stage.home.glob("chats.db.damaged-*")
    assert f"chats.db was damaged: it was set aside as {aside.name}, and a new one was begun." in warnings(page)
    assert len(ChatStore(stage.home / "chats.db").conversations()) == 1


def warnings(page: AppTest) -> str:
    """What the page warns of, as it is read."""
    assert not page.exception
    return "\n".join(warning.value.replace("\\", "") for warning in page.warning)
