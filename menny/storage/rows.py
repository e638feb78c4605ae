"""Rows of the tables as values, and the small changes that several operations share."""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from sqlite3 import Connection, Row
from typing import Any

from menny.errors import StorageError
from menny.messages import Role
from menny.storage.values import EDITED, ORIGINAL, Conversation, MessageNode, Opening, ReplyStats, new_id
from menny.text import is_blank, sanitize

TITLE_LENGTH = 60


def as_conversation(row: Row) -> Conversation:
    """Return a row as a value."""
    return Conversation(
        row["id"],
        row["title"],
        bool(row["pinned"]),
        row["created"],
        row["updated"],
        deleted=row["deleted"],
        settings=notes_of(row["settings"]),
    )


def as_entry(row: Row, alternatives: Sequence[str], is_orphan: bool) -> MessageNode:
    """Return a row as a value; a reply that was growing when its writer died is an interrupted one."""
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
        thought=row["thought"],
    )


def lenient_text(text: bytes) -> str:
    """Decode a text, also one in which a failing disk has spoilt some letters."""
    return text.decode(errors="replace")


def stats_of(kept: str) -> ReplyStats:
    """Read what was measured of a reply; zeros where a damaged file can't say it: the text matters more."""
    try:
        return ReplyStats(**json.loads(kept))
    except (ValueError, TypeError):
        return ReplyStats()


def notes_of(kept: str) -> dict[str, Any]:
    """Read what is kept beside a message or a conversation; empty where a damaged file can't say it."""
    try:
        return dict(json.loads(kept))
    except (ValueError, TypeError):
        return {}


def title_given(title: str) -> str:
    """Clean a title that comes from outside, for a line of a list; empty where nothing of it would be visible."""
    line = " ".join(sanitize(title).split())[:200]
    return "" if is_blank(line) else line


def title_of(text: str) -> str:
    """Make a title of a first message: its beginning, cut between words."""
    line = " ".join(text.split())
    if len(line) <= TITLE_LENGTH:
        return line
    return line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(" ,.;:–-") + " …"


def message_row(db: Connection, entry_id: str) -> Row:
    """Return a message's row. Raises StorageError for an unknown id."""
    row = db.execute("SELECT * FROM messages WHERE id = ?", (entry_id,)).fetchone()
    if row is None:
        raise StorageError("This message isn't here any more.")
    assert isinstance(row, Row)  # noqa: S101 - the connection's row factory
    return row


def walk(first: str | None, children: Mapping[str | None, Sequence[Row]]) -> Iterator[str]:
    """Yield the ids of the active path: at every step the chosen message; where that is gone, the latest."""
    chosen, level = first, children.get(None)
    while level:
        row = next((row for row in level if row["id"] == chosen), level[-1])
        yield row["id"]
        chosen, level = row["chosen"], children.get(row["id"])


def begin(db: Connection, conversation_id: str, title: str) -> None:
    """Add a conversation, at the head of the list."""
    now = time.time()
    db.execute(
        "INSERT INTO conversations (id, title, created, updated) VALUES (?, ?, ?, ?)",
        (conversation_id, title, now, now),
    )
    revise_list(db)


def add_message(
    db: Connection,
    conversation_id: str,
    parent: str | None,
    role: Role,
    text: str,
    persona: str = "",
    model: str = "",
    writer: str = "",
) -> str:
    """Add a message, choose it, and return its id; one with a writer grows until that is done with it."""
    entry_id = new_id()
    db.execute(
        "INSERT INTO messages (id, conversation, parent, role, text, status, persona, model, created, writer) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(entry_id, conversation_id, parent, role, text, "growing" if writer else "whole"),
            *(persona, model, time.time(), writer),
        ),
    )
    set_chosen(db, conversation_id, parent, entry_id)
    return entry_id


def add_opening(db: Connection, conversation_id: str, opening: Opening) -> str:
    """Add the versions of a first message, and return the id of the one that is chosen."""
    ids = [add_message(db, conversation_id, None, "assistant", text, persona=opening.persona) for text in opening.texts]
    set_chosen(db, conversation_id, None, ids[opening.chosen])
    return ids[opening.chosen]


def retitle(db: Connection, conversation_id: str, title: str, before: str) -> bool:
    """Replace one title of a conversation by another; return whether it had that one."""
    changed = db.execute(
        "UPDATE conversations SET title = ?, revision = revision + 1 WHERE id = ? AND title = ?",
        (title, conversation_id, before),
    )
    revise_list(db)
    return changed.rowcount > 0


def touch(db: Connection, conversation_id: str) -> bool:
    """Move a conversation to the head of the list, as it has a new message. Returns whether there is one of that id."""
    changed = db.execute(
        "UPDATE conversations SET updated = ?, revision = revision + 1 WHERE id = ?", (time.time(), conversation_id)
    )
    revise_list(db)
    return changed.rowcount > 0


def restart(db: Connection, conversation_id: str, title: str) -> None:
    """Undelete a conversation whose first message was taken back, and retitle it."""
    db.execute(
        "UPDATE conversations SET deleted = NULL, title = ? WHERE id = ? AND deleted IS NOT NULL",
        (title, conversation_id),
    )


def change_conversation(db: Connection, conversation_id: str, column: str, value: object) -> None:
    """Set one column of a conversation."""
    db.execute(
        f"UPDATE conversations SET {column} = ?, revision = revision + 1 WHERE id = ?",  # noqa: S608 - one of ours
        (value, conversation_id),
    )
    revise_list(db)


def untouched_since(db: Connection, then: float, keep: Collection[str]) -> list[str]:
    """Return the ids of the conversations without a change since a time, but for pinned ones and those in `keep`."""
    rows = db.execute("SELECT id FROM conversations WHERE deleted IS NULL AND NOT pinned AND updated < ?", (then,))
    return [row["id"] for row in rows if row["id"] not in keep]


def deletion_time(db: Connection, conversation_id: str) -> float:
    """Return the time of a deletion that happens now: after all else in the store, also where the clock is behind."""
    latest = db.execute(
        "SELECT max(max(updated, ifnull(deleted, 0))) FROM conversations UNION ALL "
        "SELECT max(max(created, ifnull(deleted, 0))) FROM messages WHERE conversation = ?",
        (conversation_id,),
    ).fetchall()
    return max(time.time(), *((row[0] or 0.0) + 0.001 for row in latest))


def remove_for_good(db: Connection, condition: str, value: str) -> None:
    """Remove conversations with their messages, and their words from the index."""
    db.execute(f"DELETE FROM conversations WHERE {condition}", (value,))  # noqa: S608 - one of ours
    db.execute("INSERT INTO said (said) VALUES ('optimize')")
    db.execute("INSERT INTO titles (titles) VALUES ('optimize')")
    revise_list(db)


def revise(db: Connection, entry_id: str) -> None:
    """Count a change within a conversation that doesn't show in the list."""
    db.execute(
        "UPDATE conversations SET revision = revision + 1 WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
        (entry_id,),
    )


def revise_list(db: Connection) -> None:
    """Count a change of the list."""
    db.execute("UPDATE counters SET value = value + 1 WHERE name = 'list'")


def add_notes(db: Connection, entry_id: str, notes: Mapping[str, Any]) -> None:
    """Set values beside a message, by key; None removes one."""
    kept = {**notes_of(message_row(db, entry_id)["extra"]), **notes}
    kept = {key: value for key, value in kept.items() if value is not None}
    db.execute("UPDATE messages SET extra = ? WHERE id = ?", (json.dumps(kept), entry_id))


def rewrite(db: Connection, entry_id: str, text: str) -> None:
    """Replace a reply's text, and keep the one that was written first beside it."""
    row = message_row(db, entry_id)
    notes = notes_of(row["extra"])
    original = notes.get(ORIGINAL, row["text"])
    db.execute("UPDATE messages SET text = ? WHERE id = ?", (text, entry_id))
    add_notes(db, entry_id, {ORIGINAL: original, EDITED: text if text != original else notes.get(EDITED)})


def mark_below(db: Connection, entry_id: str, *, is_deleted: bool) -> None:
    """Delete a message and all that follows it, or bring back what was deleted together with it."""
    row = message_row(db, entry_id)
    deleted = deletion_time(db, row["conversation"]) if is_deleted else None
    db.execute(
        "WITH RECURSIVE below (id) AS (VALUES (?) UNION ALL "
        "SELECT messages.id FROM messages JOIN below ON messages.parent = below.id) "
        "UPDATE messages SET deleted = ? WHERE id IN below AND deleted IS ?",
        (entry_id, deleted, row["deleted"]),
    )
    touch(db, row["conversation"])


def add_settings(db: Connection, conversation_id: str, settings: Mapping[str, Any]) -> None:
    """Set values of a conversation's settings, by key; None removes one. Without such a conversation, do nothing."""
    row = db.execute("SELECT settings FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        return
    kept = {**notes_of(row["settings"]), **settings}
    kept = {key: value for key, value in kept.items() if value is not None}
    db.execute(
        "UPDATE conversations SET settings = ?, revision = revision + 1 WHERE id = ?",
        (json.dumps(kept), conversation_id),
    )


def choose_path(db: Connection, entry_id: str) -> None:
    """Put a message and all that are before it on the active path."""
    above: str | None = entry_id
    while above:
        row = message_row(db, above)
        set_chosen(db, row["conversation"], row["parent"], above)
        above = row["parent"]


def set_chosen(db: Connection, conversation_id: str, parent: str | None, entry_id: str) -> None:
    """Continue the active path with a message, after its parent."""
    if parent is None:
        db.execute("UPDATE conversations SET chosen = ? WHERE id = ?", (entry_id, conversation_id))
    else:
        db.execute("UPDATE messages SET chosen = ? WHERE id = ?", (entry_id, parent))
