"""What a bad file gets: one sentence, and nothing of it is ever deleted."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from menny.config.paths import PROJECT
from menny.errors import StorageError
from menny.storage import ChatStore, ReplyStats, new_id
from menny.storage.database import Database
from menny.storage.schema import MIGRATIONS
from tests.storage.talking import say, texts


def damage_header(file: Path) -> None:
    file.write_bytes(b"This is no database. " * 500)


def damage_pages(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[4096 : 4096 * 6] = os.urandom(4096 * 5)
    file.write_bytes(bytes(whole))


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: 4096 * 5])


def of_somebody_else(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()


def of_our_version_without_tables(file: Path) -> None:
    of_somebody_else(file)
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.close()


def by(*statements: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        db = sqlite3.connect(file, isolation_level=None)
        for statement in (*statements, "PRAGMA wal_checkpoint(TRUNCATE)"):
            db.execute(statement)
        db.close()

    return damage


of_a_version_that_is_none = by("PRAGMA user_version = -1")
of_names_that_are_no_text = by(
    "PRAGMA writable_schema = ON",
    "UPDATE sqlite_schema SET name = CAST(x'ba64' AS TEXT), sql = 'nothing' WHERE type = 'trigger'",
)


@pytest.mark.parametrize(
    ("damage", "saved"),
    [
        *((damage_header, 0), (damage_pages, 0), (cut_off, 0), (of_somebody_else, 0)),
        *((of_our_version_without_tables, 0), (of_a_version_that_is_none, 40), (of_names_that_are_no_text, 0)),
        *((by("DROP TABLE said"), 40), (by("DROP TABLE titles"), 40), (by("DELETE FROM counters"), 40)),
    ],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun_with_what_can_be_read(
    store: ChatStore, file: Path, damage: Callable[[Path], None], saved: int
) -> None:
    for number in range(40):
        say(store, f"question {number}", "a long answer " * 50)
    store.close()
    damage(file)
    ruins = file.read_bytes()
    again = ChatStore(file)
    (aside,) = [path for path in file.parent.glob("chats.db.damaged-*") if not path.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == ruins
    notice = f"chats.db was damaged: it was set aside as {aside.name}, and a new one was begun."
    assert again.notice == notice + (f" {saved} chats could be saved." if saved else "")
    assert len(again.conversations()) == len(again.search("answer", limit=100)) == saved
    assert texts(again, say(again, "Hi", "Hello")) == ["Hi", "Hello"]
    again.close()


def test_what_is_damaged_beside_a_message_does_not_take_the_message_along(store: ChatStore, file: Path) -> None:
    chat = say(store, "Hi", "Hello")
    with sqlite3.connect(file) as db:
        db.execute("UPDATE messages SET figures = '{\"completfon_tokens\": 3}', extra = '{\"usage'")
        db.execute("UPDATE messages SET text = CAST(x'48e9' AS TEXT) WHERE role = 'user'")
    db.close()
    assert texts(store, chat) == ["H\ufffd", "Hello"]
    reply = store.path(chat)[1]
    store.set_metadata(reply.id, mood="calm")
    assert (store.entry(reply.id).stats, store.entry(reply.id).extra) == (ReplyStats(), {"mood": "calm"})


def test_a_second_damaged_file_does_not_take_the_first_ones_place(file: Path) -> None:
    for _ in range(3):
        ChatStore(file).close()
        damage_header(file)
        ChatStore(file).close()
    assert len(list(file.parent.glob("chats.db.damaged-*"))) == 3


def test_an_empty_file_is_a_new_store(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    store = ChatStore(file)
    assert (store.notice, store.conversations()) == ("", [])
    store.close()


def test_a_store_of_a_newer_menny_is_refused_and_left_as_it_is(store: ChatStore, file: Path) -> None:
    say(store, "Hi", "Hello")
    store.close()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = file.read_bytes()
    with pytest.raises(StorageError, match=r"chats\.db: .* newer Menny \(version 99.*\)\. Update Menny") as told:
        ChatStore(file)
    assert "\n" not in str(told.value)
    assert file.read_bytes() == before
    assert list(file.parent.glob("*damaged*")) == []


def test_an_older_store_is_brought_up_to_date_and_keeps_what_was_said(store: ChatStore, file: Path) -> None:
    chat = say(store, "Hi", "Hello")
    store.close()
    newer = (*MIGRATIONS, ("ALTER TABLE messages ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'",))
    database = Database(file, migrations=newer)
    with database.read() as db:
        rows = db.execute("SELECT text, mood FROM messages WHERE conversation = ? ORDER BY number", (chat,)).fetchall()
        assert [tuple(row) for row in rows] == [("Hi", "calm"), ("Hello", "calm")]
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(newer)
    database.close()


def test_a_step_that_fails_leaves_the_store_as_it_was(store: ChatStore, file: Path) -> None:
    chat = say(store, "Hi", "Hello")
    store.close()
    broken = (*MIGRATIONS, ("ALTER TABLE messages ADD COLUMN mood", "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(StorageError):
        Database(file, migrations=broken)
    file_again = next(file.parent.glob("chats.db.damaged-*"), file)
    again = ChatStore(file_again)
    assert texts(again, chat) == ["Hi", "Hello"]
    again.close()


def test_a_locked_store_says_so_and_works_when_the_lock_is_gone(store: ChatStore, file: Path) -> None:
    chat = say(store, "Hi", "Hello")
    store.close()
    impatient = ChatStore(file, busy_seconds=0.05)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"^chats\.db is locked by another program: close that, then try again\.$"):
        impatient.ask(chat, None, "Again")
    assert texts(impatient, chat) == ["Hi", "Hello"]
    other.execute("ROLLBACK")
    other.close()
    impatient.ask(chat, None, "Again")
    assert texts(impatient, chat)[0] == "Again"
    impatient.close()


def test_a_wholly_locked_store_cannot_be_opened(store: ChatStore, file: Path) -> None:
    store.close()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="is locked by another program"):
        ChatStore(file, busy_seconds=0.05)
    other.close()
    ChatStore(file).close()


def test_a_full_disk_is_told_and_what_was_kept_before_stays(store: ChatStore, file: Path) -> None:
    chat = say(store, "Hi", "Hello")
    with store._database.write() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    store._database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(
        StorageError, match=r"^The disk is full: chats\.db can't be written\. Make room, then try again\.$"
    ):
        store.ask(chat, None, "A long question. " * 5000)
    assert texts(store, chat) == ["Hi", "Hello"]
    store._database._writer.execute("PRAGMA max_page_count = 1000000")
    store.ask(new_id(), None, "A long question. " * 5000)


READ_ONLY = """
import os, pathlib
from menny.errors import StorageError
from menny.storage import ChatStore
os.setgid(65534); os.setuid(65534)
store = ChatStore(pathlib.Path("chats.db"))
print(store.notice)
(chat,) = store.conversations()
print([entry.text for entry in store.path(chat.id)], len(store.search("hel")))
try:
    store.ask(chat.id, None, "Again")
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user's place")
def test_a_store_that_may_only_be_read_is_read(store: ChatStore, file: Path) -> None:
    say(store, "Hi", "Hello")
    store.close()
    file.chmod(0o444)
    for folder in file.parents:
        if "pytest" in str(folder):
            folder.chmod(0o755)
    told = subprocess.run(
        [sys.executable, "-c", READ_ONLY],
        cwd=file.parent,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert told.stderr == ""
    assert told.stdout.splitlines() == [
        "chats.db can't be written: chats can be read, and nothing new is kept.",
        "['Hi', 'Hello'] 1",
        "chats.db can't be written: check who may write to it.",
    ]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"chats\.db can't be kept in its folder"):
        ChatStore(tmp_path / "home" / "chats.db")
