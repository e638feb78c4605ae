"""Importing conversations that were written elsewhere: nothing here is lost, and nothing is added twice."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from sqlite3 import Connection

from menny.errors import StorageError
from menny.storage.rows import choose_path, revise_list
from menny.storage.values import Conversation, MessageNode, Transcript


def merge(db: Connection, transcripts: Iterable[Transcript]) -> int:
    """Add what isn't here yet, and return the number of messages that are new, or longer than they were here."""
    changed = 0
    for transcript in transcripts:
        _add_conversation(db, transcript.conversation)
        added = sum([_add_message(db, transcript.conversation.id, entry) for entry in transcript.entries])
        if added and transcript.active:
            choose_path(db, transcript.active[-1])
        changed += added
    revise_list(db)
    return changed


def _add_conversation(db: Connection, conversation: Conversation) -> None:
    db.execute(
        "INSERT INTO conversations (id, title, pinned, created, updated, settings) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET deleted = NULL, updated = max(updated, excluded.updated), "
        "revision = revision + 1",
        (
            *(conversation.id, conversation.title, conversation.pinned, conversation.created, conversation.updated),
            json.dumps(dict(conversation.settings)),
        ),
    )


def _add_message(db: Connection, conversation_id: str, entry: MessageNode) -> bool:
    """Add a message, or what one that is here lacks; return whether that changed anything.

    One that is here stays after the message that it is after here, wherever a newer export of its chat has it.
    """
    here = db.execute("SELECT * FROM messages WHERE id = ?", (entry.id,)).fetchone()
    status = "interrupted" if entry.status == "growing" else entry.status
    ending = (entry.text, entry.thought, status, entry.finish_reason, entry.error, json.dumps(asdict(entry.stats)))
    if here is None:
        db.execute(
            "INSERT INTO messages (text, thought, status, finish_reason, error, figures, extra, id, conversation, "
            "parent, role, persona, model, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(*ending, json.dumps(dict(entry.extra)), entry.id, conversation_id, entry.parent),
                *(entry.role, entry.persona, entry.model, entry.created),
            ),
        )
        return True
    if here["conversation"] != conversation_id or here["role"] != entry.role:
        raise StorageError("This file has a message that is here already, in another chat. Nothing was imported.")
    db.execute("UPDATE messages SET deleted = NULL WHERE id = ?", (entry.id,))
    is_shorter = (len(entry.text), len(entry.thought)) <= (len(here["text"]), len(here["thought"]))
    if here["status"] == "whole" or (status != "whole" and is_shorter):
        return here["deleted"] is not None
    db.execute(
        "UPDATE messages SET text = ?, thought = ?, status = ?, finish_reason = ?, error = ?, figures = ?, writer = '' "
        "WHERE id = ?",
        (*ending, entry.id),
    )
    return True
