"""What is deleted: looked into, brought back, removed for good; and lists of a persona's or a folder's chats alone."""

from pathlib import Path

import pytest

from menny.storage import ChatStore
from menny.storage.values import new_id


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path / "chats.db")


def say(store: ChatStore, text: str, persona: str = "menny", **settings: str) -> str:
    chat = new_id()
    _, reply = store.ask(chat, None, text, persona=persona, settings=settings)
    store.finish(reply.id, f"reply to {text}", "stop")
    return chat


def test_the_bin_is_emptied_and_nothing_of_it_can_be_found_in_the_file(store: ChatStore, tmp_path: Path) -> None:
    kept, gone, other = say(store, "kept"), say(store, "marmalade"), say(store, "zeppelin")
    store.delete(gone)
    store.delete(other)
    assert [one.id for one in store.deleted_conversations()] == [other, gone]
    store.purge(gone)
    assert [one.id for one in store.deleted_conversations()] == [other]
    store.undelete(other)
    store.purge(kept)  # isn't deleted, so it stays
    store.purge()
    assert {one.id for one in store.conversations()} == {kept, other}
    store.close()
    assert b"marmalade" not in (tmp_path / "chats.db").read_bytes()


def test_everything_is_removed_for_good(store: ChatStore, tmp_path: Path) -> None:
    say(store, "marmalade")
    store.delete(say(store, "zeppelin"))
    before = store.revision("")
    store.purge_everything()
    assert store.conversations() == store.deleted_conversations() == []
    assert store.search("marmalade") == []
    assert store.revision("") != before
    store.close()
    assert not any(word in (tmp_path / "chats.db").read_bytes() for word in (b"marmalade", b"zeppelin"))


def test_a_list_holds_the_chats_of_a_persona_or_of_a_folder_alone(store: ChatStore) -> None:
    work, nora, both = say(store, "a", folder="Work"), say(store, "b", "nora"), say(store, "c", "nora", folder="work 2")
    assert store.folders() == ["Work", "work 2"]
    assert [one.id for one in store.conversations(persona="nora")] == [both, nora]
    assert [one.id for one in store.conversations(folder="Work")] == [work]
    assert [one.id for one in store.conversations(persona="nora", folder="work 2")] == [both]
    store.delete(both)
    assert store.folders() == ["Work"]
