"""Chats as files: what is saved comes back equal, and what is wrong with a file refuses it whole."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from menny.errors import StorageError
from menny.storage import ChatStore, ReplyStats, as_json, as_markdown, new_id, pack, unpack
from menny.storage.formats.archive import MOST_BYTES
from tests.storage.talking import say, texts


def branched(store: ChatStore) -> str:
    """A chat with everything that one can have."""
    chat = say(store, "Hi 👋 <b>", "Hello\n\n```python\nprint(1)\n```")
    question, reply = store.path(chat)
    again = store.ask_again(question.id, "nora", "little")
    stats = ReplyStats(12, 2, 18.5, 0.25, thought_tokens=4, thought_seconds=0.5)
    store.finish(again.id, "Once upon", "length", "", stats, "A tale, then.", usage={"unseen": 0}, summary="Hm.")
    store.set_settings(chat, temperature=0.2, note="Be brief.", persona=None)
    say(store, "Go on", "and on", chat)
    store.ask(chat, reply.id, "Never answered")
    store.choose(again.id)
    store.pin(chat, True)
    store.rename(chat, "A tale: of / two")
    return chat


def archive(**members: bytes | str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in members.items():
            made.writestr(name, text)
    return packed.getvalue()


def test_a_chat_that_an_editor_saved_with_a_mark_before_it_and_an_odd_title_is_read(store: ChatStore) -> None:
    document = json.loads(as_json(store.transcript(say(store, "Hi there", "Hello"))))
    for title, shown in (
        (" \n", "Hi there"),
        ("\u200b", "Hi there"),
        ("two\nlines\x07", "two lines"),
        ("x" * 900, "x" * 200),
    ):
        data = json.dumps({**document, "title": title}).encode("utf-8-sig")
        (read,) = unpack("chat.json", data).transcripts
        assert read.conversation.title == shown


def test_a_chat_that_was_saved_and_deleted_comes_back_equal(store: ChatStore) -> None:
    chat = branched(store)
    store.finish(store.transcript(chat).entries[-1].id, "Late", "stop")
    before = store.transcript(chat)
    elsewhere = ChatStore()
    assert elsewhere.merge(unpack("chat.json", as_json(before).encode()).transcripts) == len(before.entries)
    assert elsewhere.transcript(chat) == before
    assert texts(elsewhere, chat) == texts(store, chat)


def test_a_document_of_the_first_version_is_read(store: ChatStore) -> None:
    document = json.loads(as_json(store.transcript(say(store, "Hi", "Hello"))))
    del document["settings"]
    for message in document["messages"]:
        del message["thought"], message["figures"]["thought_tokens"], message["figures"]["thought_seconds"]
    data = json.dumps({**document, "version": 1}).encode()
    (read,) = unpack("chat.json", data).transcripts
    assert [entry.text for entry in read.entries] == ["Hi", "Hello"]


def test_a_reply_that_grows_is_saved_as_interrupted(store: ChatStore) -> None:
    chat = new_id()
    store.ask(chat, None, "Hi")
    (read,) = unpack("chat.json", as_json(store.transcript(chat)).encode()).transcripts
    assert read.entries[1].status == "interrupted"


def test_the_archive_of_everything_restores_everything_and_nothing_twice(store: ChatStore) -> None:
    chats = [branched(store), say(store, "Two", "two"), say(store, "Three", "three")]
    saved = pack(store.transcripts(), {})
    elsewhere = ChatStore()
    say(elsewhere, "Mine", "stays")
    elsewhere.merge(unpack("all.zip", saved).transcripts)
    assert [elsewhere.transcript(chat).active for chat in chats] == [store.transcript(chat).active for chat in chats]
    assert elsewhere.merge(unpack("all.zip", saved).transcripts) == 0
    assert len(elsewhere.conversations()) == 4


def test_a_restore_brings_back_what_was_deleted_and_keeps_what_was_said_since(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    say(store, "More", "More it is", chat)
    saved = pack(store.transcripts(), {})
    store.delete_branch(store.path(chat)[2].id)
    say(store, "Since", "then", chat)
    store.delete(chat)
    store.merge(unpack("all.zip", saved).transcripts)
    assert store.conversations()[0].id == chat
    said = {entry.text for entry in store.transcript(chat).entries}
    assert said == {"Hi", "Hello", "More", "More it is", "Since", "then"}


def test_an_interrupted_reply_goes_as_far_as_either_knows(store: ChatStore) -> None:
    chat = new_id()
    _, reply = store.ask(chat, None, "Count")
    store.finish(reply.id, "One, two")
    earlier = store.transcript(chat)
    store.finish(reply.id, "One, two, three.", "stop")
    later = store.transcript(chat)
    elsewhere = ChatStore()
    for transcript in (earlier, later, earlier):
        elsewhere.merge([transcript])
    assert elsewhere.path(chat)[1].text == "One, two, three."


def test_a_markdown_file_is_the_conversation_to_read(store: ChatStore) -> None:
    chat = branched(store)
    assert as_markdown(store.transcript(chat), {"nora": "Nora"}) == (
        "# A tale: of / two\n\n## You\n\nHi 👋 <b>\n\n## Nora\n\n> *Thought*\n>\n> A tale, then.\n\nOnce upon\n\n"
        "## You\n\nGo on\n\n## Menny\n\nand on\n"
    )


def document(store: ChatStore) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_json(store.transcript(branched(store))))
    return found


def change(key: str, value: Any, message: int | None = None) -> Any:
    def changed(chat: dict[str, Any]) -> dict[str, Any]:
        (chat if message is None else chat["messages"][message])[key] = value
        return chat

    return changed


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (change("version", 3), "newer Menny"),
        (change("version", None), "'version'"),
        (lambda chat: {key: value for key, value in chat.items() if key != "version"}, "'version'"),
        (change("id", "1"), "'id'"),
        (change("id", "../../../../etc/passwd"), "'id'"),
        (change("surprise", 1), "'surprise'"),
        (change("messages", []), "'messages'"),
        (change("text", 7, 0), "'messages.0.text'"),
        (change("role", "system", 0), "'messages.0.role'"),
        (change("created", 1e300, 0), "'messages.0.created'"),
        (change("parent", "A" * 22, 0), "answers one that isn't in it"),
        (lambda chat: change("parent", chat["messages"][1]["id"], 0)(chat), "comes later"),
        (lambda chat: change("id", chat["messages"][1]["id"], 2)(chat), "twice"),
        (change("active", ["A" * 22]), "active path"),
    ],
)
def test_a_chat_with_a_fault_is_refused_and_nothing_of_it_kept(store: ChatStore, damage: Any, complaint: str) -> None:
    data = json.dumps(damage(document(store))).encode()
    with pytest.raises(StorageError, match=complaint) as told:
        unpack("chat.json", data)
    assert str(told.value).startswith("chat.json: ")
    assert str(told.value).endswith("Nothing was imported.")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "valid JSON"),
        (b'{"format": "menny-chat", "version": 1', "valid JSON"),
        (b"[" * 200_000, "valid JSON"),
        (b'"hello"', "neither a chat"),
        (b"[]", "no chat in it"),
        (b'[{"title": "x"}]', "isn't an export"),
        (b'{"format": "menny-chat", "version": 1, "id": "\\ud800"}', "."),
        (b"PK\x03\x04 cut off", "damaged"),
        (lambda: archive(), "no chat in it"),
        (lambda: archive(**{"../chats/x.json": "{}"}), "outside"),
        (lambda: archive(**{"/etc/cron.d/x": "{}"}), "outside"),
        (lambda: archive(**{"C:\\x.json": "{}"}), "outside"),
        (lambda: archive(**{"chats\\..\\..\\x.json": "{}"}), "outside"),
        (lambda: archive(**{"chats/x.json": "not json"}), "valid JSON"),
        (lambda: archive(**{"conversations.json": "{}"}), "neither a chat"),
        (lambda: archive(**{"chats/x.json": b" " * (MOST_BYTES + 1)}), "larger than 256 MB"),
        (lambda: archive(**{f"chats/{n}.json": b" " * (MOST_BYTES // 2 + 1) for n in range(2)}), "."),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_in_a_sentence(
    data: bytes | Callable[[], bytes], complaint: str
) -> None:
    with pytest.raises(StorageError, match=complaint) as told:
        unpack("some.file", data if isinstance(data, bytes) else data())
    assert "\n" not in str(told.value)


def test_a_link_in_an_archive_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        link = zipfile.ZipInfo("chats/link.json")
        link.external_attr = 0o120777 << 16
        made.writestr(link, "/etc/passwd")
    with pytest.raises(StorageError, match="outside"):
        unpack("all.zip", packed.getvalue())


def test_one_bad_chat_in_an_archive_keeps_all_of_it_out(store: ChatStore) -> None:
    good, bad = say(store, "Good", "ok"), say(store, "Bad", "ok")
    documents = {f"chats/{chat}.json": as_json(store.transcript(chat)) for chat in (good, bad)}
    documents[f"chats/{bad}.json"] = documents[f"chats/{bad}.json"].replace('"user"', '"boss"')
    with pytest.raises(StorageError, match="role"):
        unpack("all.zip", archive(**documents))


def test_a_chat_that_claims_another_chats_message_changes_nothing(store: ChatStore) -> None:
    mine, theirs = say(store, "Mine", "ok"), ChatStore()
    other = say(theirs, "First", "ok")
    document: dict[str, Any] = json.loads(as_json(theirs.transcript(other)))
    document["messages"][0]["id"] = store.path(mine)[0].id
    document["messages"][1]["parent"] = document["messages"][0]["id"]
    document["active"][0] = document["messages"][0]["id"]
    before = store.transcript(mine)
    with pytest.raises(StorageError, match="is here already, in another chat"):
        store.merge(unpack("chat.json", json.dumps(document).encode()).transcripts)
    assert (store.transcript(mine), len(store.conversations())) == (before, 1)


def test_a_store_that_fails_in_mid_import_keeps_nothing_of_it(store: ChatStore, file: Path) -> None:
    elsewhere = ChatStore()
    for number in range(50):
        say(elsewhere, f"question {number}", "a long answer " * 200)
    pages = store._database._writer.execute("PRAGMA page_count").fetchone()[0]
    store._database._writer.execute(f"PRAGMA max_page_count = {pages + 8}")
    with pytest.raises(StorageError, match="disk is full"):
        store.merge(elsewhere.transcripts())
    assert store.conversations() == []
