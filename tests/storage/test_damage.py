"""Damage that is found late: the store remembers it, and the next start saves what can be read."""

import random
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from menny.errors import StorageError
from menny.storage import ChatStore
from menny.storage.database import Database
from tests.storage.talking import integrity, say, texts

CHATS = 25


def fill(file: Path) -> list[str]:
    """Write chats, each with a branch, and return their ids."""
    store = ChatStore(file)
    chats = []
    for number in range(CHATS):
        chat = say(store, f"question {number}", f"a long answer {number} " * 40)
        store.ask_again(store.path(chat)[0].id)
        chats.append(say(store, "more 日本", "and more", chat))
    store.close()
    return chats


def by_sql(file: Path, *statements: str) -> None:
    db = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def look_at_everything(store: ChatStore) -> None:
    for chat in store.conversations():
        store.path(chat.id)
    store.search("question", limit=100)
    store.search("日本", limit=100)
    store.search("answ", limit=100)


def use(store: ChatStore) -> None:
    """Read everything and write something."""
    look_at_everything(store)
    say(store, "Something new", "an answer")


DAMAGES = [  # what the quick check doesn't see, and a query does
    ("UPDATE said_data SET block = x'0000000000' WHERE id > 10",),
    ("UPDATE said_data SET block = x'ff' WHERE id = 10",),
    ("DELETE FROM said_data WHERE id > 10",),
    ("DROP TABLE said_idx",),
    ("UPDATE messages SET parent = 'x' || parent WHERE number % 7 = 3",),
    ("DROP TABLE titles_docsize",),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage[0])
def test_damage_that_a_query_meets_is_repaired_by_the_next_start(file: Path, damage: tuple[str, ...]) -> None:
    chats = fill(file)
    by_sql(file, *damage)
    store = ChatStore(file)
    if not store.notice:  # else it was seen at once
        with pytest.raises(StorageError, match=r"^chats\.db is damaged\. Restart Menny"):
            use(store)
        store.close()
        store = ChatStore(file)
    assert store.notice.endswith(f"{CHATS} chats could be saved.")
    look_at_everything(store)
    assert len(store.search("question", limit=100)) == CHATS
    for number, chat in enumerate(chats):
        assert texts(store, chat)[0] == f"question {number}"
        assert len(store.transcript(chat).entries) == 5
    store.close()
    assert integrity(file) == "ok"
    again = ChatStore(file)
    assert again.notice == ""
    again.close()


def test_a_store_that_is_put_in_the_place_of_a_damaged_one_is_left_alone(file: Path) -> None:
    fill(file)
    backup = file.read_bytes()
    by_sql(file, "UPDATE said_data SET block = x'0000000000' WHERE id > 10")
    store = ChatStore(file)
    with pytest.raises(StorageError):
        store.search("question")
    store.close()
    new = file.with_name("restored.db")
    new.write_bytes(backup)
    new.replace(file)
    store = ChatStore(file)
    assert store.notice == ""
    assert len(store.search("question", limit=100)) == CHATS
    store.close()


def test_a_query_that_is_no_good_is_not_taken_for_damage(file: Path) -> None:
    database = Database(file)
    for statement in ("SELECT rowid FROM said WHERE said MATCH '\"'", "SELECT 1 WHERE"):
        with pytest.raises(StorageError), database.read() as db:
            db.execute(statement)
    database.close()
    again = Database(file)
    assert again.notice == ""
    again.close()


def test_a_message_whose_parent_is_lost_follows_the_one_before_it(file: Path) -> None:
    chat = fill(file)[0]
    by_sql(file, f"DELETE FROM messages WHERE conversation = '{chat}' AND text = 'more 日本'", "DROP TABLE said")
    store = ChatStore(file)
    assert [entry.text for entry in store.transcript(chat).entries][-1] == "and more"
    assert len(store.transcript(chat).entries) == 4
    assert "and more" in [entry.text for entry in store.path_to(store.transcript(chat).entries[-1].id)]
    store.close()


def test_a_chat_whose_own_row_is_lost_is_named_after_its_first_message(file: Path) -> None:
    chat = fill(file)[0]
    by_sql(file, f"DELETE FROM conversations WHERE id = '{chat}'", "DROP TABLE said")
    store = ChatStore(file)
    conversation = store.conversation(chat)
    assert conversation is not None
    assert conversation.title == "question 0"
    store.close()


def test_rows_beside_a_damaged_page_are_saved(file: Path) -> None:
    store = ChatStore(file)
    for number in range(400):
        say(store, f"question {number}", "x" * 300)
    store.close()
    db = sqlite3.connect(file)
    (page,) = db.execute(
        "SELECT pageno FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 20"
    ).fetchone()
    db.close()
    whole = bytearray(file.read_bytes())
    whole[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    file.write_bytes(whole)
    store = ChatStore(file)
    saved = [store.path(chat.id) for chat in store.conversations()]
    assert 390 <= len(saved) <= 400
    assert sum(len(path) for path in saved) >= 780
    assert "chats could be saved" in store.notice
    store.close()


NEWER = "these chats were written by a newer Menny"  # where the bytes of the version were hit


def outcome(file: Path) -> str:
    """Open a store and use it; return what goes wrong."""
    try:
        store = ChatStore(file)
        try:
            use(store)
        finally:
            store.close()
    except StorageError as error:
        return NEWER if NEWER in str(error) else str(error)
    return ""


@pytest.mark.slow
def test_whatever_is_damaged_a_restart_gives_a_store_that_works(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    fill(file)
    whole = file.read_bytes()
    chance = random.Random(14)
    for number in range(100):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 8, 200))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if number % 4 == 0:
            start = chance.randrange(len(damaged))
            damaged[start : start + chance.choice((16, 512, 4096))] = chance.randbytes(16)
        for left in tmp_path.iterdir():
            if left.is_file():
                left.unlink()
        file.write_bytes(damaged)
        outcomes = [outcome(file) for _ in range(3)]
        assert all(each in ("", NEWER) or "Restart Menny" in each for each in outcomes), (number, outcomes)
        assert not any("Restart Menny" in each and after for each, after in pairwise(outcomes)), (number, outcomes)
