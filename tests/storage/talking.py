"""Short ways to say something into a store and to see what stands there."""

import sqlite3
from pathlib import Path

from menny.storage import ChatStore, new_id


def say(store: ChatStore, question: str, reply: str, chat: str | None = None, after: str | None = None) -> str:
    """A whole turn at the end of a conversation, or of a new one; gives the conversation's id."""
    chat = chat or new_id()
    path = store.path(chat)
    _, growing = store.ask(chat, after or (path[-1].id if path else None), question, "menny", "little")
    store.finish(growing.id, reply, "stop")
    return chat


def texts(store: ChatStore, chat: str) -> list[str]:
    return [entry.text for entry in store.path(chat)]


def integrity(file: Path) -> str:
    """What SQLite has to say of a file."""
    db = sqlite3.connect(file)
    told = db.execute("PRAGMA integrity_check").fetchone()[0]
    db.close()
    return str(told)
