"""Rows of the tables as values, and the small changes that several operations share."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection, Row
from typing import Any

from menny.errors import StorageError
from menny.storage.values import Conversation, MessageNode, ReplyStats
from menny.text import is_blank, sanitize

TITLE_LENGTH = 60


def as_conversation(row: Row) -> Conversation:
    return Conversation(
        row["id"], row["title"], bool(row["pinned"]), row["created"], row["updated"], deleted=row["deleted"]
    )


def as_entry(row: Row, alternatives: Sequence[str], is_orphan: bool) -> MessageNode:
    """A message; one that was growing when its writer died was interrupted."""
    return MessageNode(
        id=row["id"],
        parent=row["parent"],
        role=row["role"],
        text=row["text"],
        status="interrupted" if is_orphan else row["status"],
        finish_reason=row["finish_reason"],
        error=row["error"],
        persona=row["persona"],
        model=row["model"],
        stats=stats_of(row["figures"]),
        created=row["created"],
        alternatives=tuple(alternatives),
        extra=notes_of(row["extra"]),
    )


def stats_of(kept: str) -> ReplyStats:
    """What was measured of a reply; nothing where a damaged file no longer tells it: what was said matters more."""
    try:
        return ReplyStats(**json.loads(kept))
    except (ValueError, TypeError):
        return ReplyStats()


def notes_of(kept: str) -> dict[str, Any]:
    """What is kept beside a message; nothing where a damaged file no longer tells it."""
    try:
        return dict(json.loads(kept))
    except (ValueError, TypeError):
        return {}


def title_given(title: str) -> str:
    """A title from somebody else, as a list can show it; empty where nothing of it could be seen."""
    line = " ".join(sanitize(title).split())[:200]
    return "" if is_blank(line) else line


def title_of(text: str) -> str:
    """A first title: the beginning of what was said first, cut between words."""
    line = " ".join(text.split())
    if len(line) <= TITLE_LENGTH:
        return line
    return line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(" ,.;:–-") + " …"


def message_row(db: Connection, entry_id: str) -> Row:
    """A message's row. StorageError if there is none of that id."""
    row = db.execute("SELECT * FROM messages WHERE id = ?", (entry_id,)).fetchone()
    if row is None:
        raise StorageError("This message isn't here any more.")
    assert isinstance(row, Row)  # noqa: S101 - the connection's row factory
    return row


def walk(first: str | None, children: Mapping[str | None, Sequence[Row]]) -> Iterator[str]:
    """The active path: at every step the chosen one; where that is gone, the latest."""
    chosen, level = first, children.get(None)
    while level:
        row = next((row for row in level if row["id"] == chosen), level[-1])
        yield row["id"]
        chosen, level = row["chosen"], children.get(row["id"])


def begin(db: Connection, conversation_id: str, title: str) -> None:
    """A new conversation, at the head of the list."""
    now = time.time()
    db.execute(
        "INSERT INTO conversations (id, title, created, updated) VALUES (?, ?, ?, ?)",
        (conversation_id, title, now, now),
    )
    revise_list(db)


def touch(db: Connection, conversation_id: str) -> bool:
    """Something was said: the conversation moves to the head of the list. Tells whether it is there at all."""
    changed = db.execute(
        "UPDATE conversations SET updated = ?, revision = revision + 1 WHERE id = ?", (time.time(), conversation_id)
    )
    revise_list(db)
    return changed.rowcount > 0


def restart(db: Connection, conversation_id: str, title: str) -> None:
    """Something is said in a conversation whose first message was taken back: it is there again, by another title."""
    db.execute(
        "UPDATE conversations SET deleted = NULL, title = ? WHERE id = ? AND deleted IS NOT NULL",
        (title, conversation_id),
    )


def revise(db: Connection, entry_id: str) -> None:
    """Something changed within a conversation that doesn't show in the list."""
    db.execute(
        "UPDATE conversations SET revision = revision + 1 WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
        (entry_id,),
    )


def revise_list(db: Connection) -> None:
    db.execute("UPDATE counters SET value = value + 1 WHERE name = 'list'")


def add_notes(db: Connection, entry_id: str, notes: Mapping[str, Any]) -> None:
    """Keep notes beside a message; None takes one away."""
    kept = {**notes_of(message_row(db, entry_id)["extra"]), **notes}
    kept = {key: value for key, value in kept.items() if value is not None}
    db.execute("UPDATE messages SET extra = ? WHERE id = ?", (json.dumps(kept), entry_id))


def set_chosen(db: Connection, conversation_id: str, parent: str | None, entry_id: str) -> None:
    """Have the active path go on by an entry, where it comes to its parent."""
    if parent is None:
        db.execute("UPDATE conversations SET chosen = ? WHERE id = ?", (entry_id, conversation_id))
    else:
        db.execute("UPDATE messages SET chosen = ? WHERE id = ?", (entry_id, parent))
