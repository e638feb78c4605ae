"""A chat that isn't kept, and chats that are deleted after a time."""

import time
from pathlib import Path

from menny.config.settings import settings_file
from menny.storage import ChatStore, Conversation, MessageNode, Transcript, new_id, store_file
from menny.ui.chat.chats import Chats
from tests.ui.conftest import Stage, say, texts


def test_a_temporary_chat_says_so_and_leaves_nothing_behind(stage: Stage) -> None:
    page = stage.open_page()
    page.button(key="new_temporary").click().run()
    say(page, "a secret word")
    assert "You said: a secret word" in texts(page)[-1]
    assert any("It isn't saved" in caption.value for caption in page.caption)
    assert "chat" not in page.query_params
    assert ChatStore(store_file()).conversations() == []
    assert b"secret" not in store_file().read_bytes()
    page.button(key="new_chat").click().run()
    assert not any("secret" in text for text in texts(page))
    assert not any("It isn't saved" in caption.value for caption in page.caption)


def test_a_temporary_chat_can_be_kept_after_all(stage: Stage) -> None:
    page = stage.open_page()
    page.button(key="new_temporary").click().run()
    say(page, "worth keeping")
    page.button(key="keep-chat").click().run()
    assert [one.title for one in ChatStore(store_file()).conversations()] == ["worth keeping"]
    say(page, "and more")
    assert "You said: and more" in texts(page)[-1]


def old_chat(store: ChatStore, title: str, days: float, *, pinned: bool = False) -> str:
    chat_id, then = new_id(), time.time() - days * 86_400
    message = MessageNode(new_id(), None, "user", title, created=then)
    store.merge([Transcript(Conversation(chat_id, title, pinned, then, then), (message,), (message.id,))])
    return chat_id


def test_untouched_chats_go_to_the_bin_but_for_pinned_and_open_ones(tmp_path: Path) -> None:
    chats = Chats(tmp_path / "chats.db")
    assert chats.store
    old, new, _, read = (
        old_chat(chats.store, title, days, pinned=title == "pinned")
        for title, days in (("old", 31), ("new", 29), ("pinned", 99), ("being read", 99))
    )
    reading = chats.find(read)
    chats.tidy(None)
    assert len(chats.store.conversations()) == 4
    chats.tidy(30)
    assert reading
    assert {one.title for one in chats.store.conversations()} == {"new", "pinned", "being read"}
    chats.store.undelete(old, is_touched=True)
    assert chats.untouched(30) == chats.store.delete_untouched(30, keep=[read]) == 0  # it stays, once restored
    assert len(chats.store.conversations()) == 4
    assert new in [one.id for one in chats.store.conversations()]


def test_the_days_are_a_setting(stage: Stage) -> None:
    stage.home.mkdir(exist_ok=True)
    old_chat(ChatStore(store_file()), "last year", 366)
    page = stage.open_page()
    assert len(ChatStore(store_file()).conversations()) == 1
    page.selectbox(key="delete_chats_after").select(365).run()
    assert "1 chat has had no message for 365 days." in " ".join(caption.value for caption in page.caption)
    assert not settings_file().exists()
    page.button(key="agree-days").click().run()
    assert "delete_chats_after: 365" in settings_file().read_text()
    page.run()
    assert ChatStore(store_file()).conversations() == []
