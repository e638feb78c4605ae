"""ChatStore: conversations as trees of messages, kept in SQLite or in memory; see reader.py for what a tree is."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from menny.attachments import kept_attachments
from menny.config.paths import home
from menny.engine_protocols import FinishReason
from menny.storage.copying import copy_until
from menny.storage.database import BUSY_SECONDS, Database
from menny.storage.errors import DamagedError
from menny.storage.facts import Facts
from menny.storage.merge import merge
from menny.storage.reader import ChatReader
from menny.storage.rows import (
    add_message,
    add_notes,
    add_opening,
    add_settings,
    begin,
    change_conversation,
    choose_path,
    deletion_time,
    mark_below,
    message_row,
    remove_for_good,
    restart,
    retitle,
    revise,
    rewrite,
    title_given,
    title_of,
    touch,
    untouched_since,
)
from menny.storage.upkeep import DAY, mark_interrupted, remove_expired
from menny.storage.values import MessageNode, Opening, ReplyStats, Transcript
from menny.storage.writers import Writers


def store_file() -> Path:
    """Return the place of the user's store: `chats.db` in MENNY_HOME, or in the system's folder for a user's data."""
    return home() / "chats.db"


class ChatStore(ChatReader):
    """The conversations in the file at `path`; without one, in memory for as long as the store lives.

    Safe to use from any thread, and from several processes at once. Every method that changes something is one
    transaction: when it returns, it is on the disk, in that one file. All raise StorageError, whose sentence can be
    shown. `notice` is a sentence for the user about how the store was opened: a damaged file was set aside, or the
    file can't be written.
    """

    def __init__(self, path: Path | None = None, busy_seconds: float = BUSY_SECONDS) -> None:
        self._writers = Writers(path.with_name(path.name + ".writers") if path else None)
        self._database = Database(path, busy_seconds)
        try:
            self._keep_up()
        except DamagedError:  # which is noted: the file is set aside when it is opened again
            self._database.close()
            self._database = Database(path, busy_seconds)
            self._keep_up()
        self.facts = Facts(self._database)

    def _keep_up(self) -> None:
        if self._database.can_write:
            with self._database.explaining():
                mark_interrupted(self._database, self._writers)
                remove_expired(self._database)

    @property
    def notice(self) -> str:
        """A sentence about how the store was opened; "" where there is nothing to say."""
        return self._database.notice

    def close(self) -> None:
        """Close the file; replies that still grow are then interrupted ones."""
        self._database.close()
        self._writers.close()

    # Asking and replying

    def ask(
        self,
        conversation_id: str,
        parent: str | None,
        text: str,
        persona: str = "",
        model: str = "",
        settings: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        opening: Opening | None = None,
    ) -> tuple[MessageNode, MessageNode]:
        """Add a question after `parent` and an empty, growing reply to it, both on the active path.

        With the parent of an earlier question this makes an alternative to that. The first question begins the
        conversation, after its `opening` if it has one; its beginning becomes the title, or the name of its first file
        where there is no text, and `settings` those of the conversation. `extra` stands beside the question.
        """
        title = title_of(text or next((one.name for one in kept_attachments(extra or {})), ""))
        with self._database.write() as db:
            if parent is None:
                self._begin(db, conversation_id, title, settings)
                parent = add_opening(db, conversation_id, opening) if opening else None
            else:
                touch(db, conversation_id)
            question = add_message(db, conversation_id, parent, "user", text)
            add_notes(db, question, extra or {})
            reply = self._add_reply(db, conversation_id, question, persona, model)
        return self.entry(question), self.entry(reply)

    def ask_again(self, question_id: str, persona: str = "", model: str = "") -> MessageNode:
        """Add another empty, growing reply to a question, and choose it."""
        with self._database.write() as db:
            conversation_id = message_row(db, question_id)["conversation"]
            touch(db, conversation_id)
            reply = self._add_reply(db, conversation_id, question_id, persona, model)
        return self.entry(reply)

    def reopen(self, reply_id: str) -> MessageNode:
        """Let a reply that ended grow again."""
        with self._database.write() as db:
            touch(db, message_row(db, reply_id)["conversation"])
            db.execute(
                "UPDATE messages SET status = 'growing', finish_reason = NULL, error = '', writer = ? WHERE id = ?",
                (self._writers.own_mark(), reply_id),
            )
        return self.entry(reply_id)

    def grow(self, reply_id: str, text: str, thought: str = "") -> None:
        """Store the text of a reply so far, and the thought before it."""
        with self._database.write() as db:
            db.execute("UPDATE messages SET text = ?, thought = ? WHERE id = ?", (text, thought, reply_id))
            revise(db, reply_id)

    def finish(
        self,
        reply_id: str,
        text: str,
        finish_reason: FinishReason | None = None,
        error: str = "",
        stats: ReplyStats | None = None,
        thought: str = "",
        **extra: Any,
    ) -> None:
        """Store a reply as it ended, with metadata; without a reason or an error, it was interrupted."""
        status = "whole" if finish_reason or error else "interrupted"
        with self._database.write() as db:
            db.execute(
                "UPDATE messages SET text = ?, thought = ?, status = ?, finish_reason = ?, error = ?, figures = ?, "
                "writer = '' WHERE id = ?",
                (text, thought, status, finish_reason, error, json.dumps(asdict(stats or ReplyStats())), reply_id),
            )
            add_notes(db, reply_id, extra)
            touch(db, message_row(db, reply_id)["conversation"])

    def set_metadata(self, entry_id: str, **extra: Any) -> None:
        """Set values beside a message, by key: `store.set_metadata(entry.id, summary={…})`.

        Values are anything that JSON can hold; None removes a key. They are read as `entry.extra`, and are part of an
        export and of its import.
        """
        with self._database.write() as db:
            add_notes(db, entry_id, extra)
            revise(db, entry_id)

    def rewrite(self, reply_id: str, text: str) -> None:
        """Replace a reply's text by a reader's; the original is kept (`MessageNode.other_text`)."""
        with self._database.write() as db:
            rewrite(db, reply_id, text)
            revise(db, reply_id)

    # Choosing and deleting

    def choose(self, entry_id: str) -> None:
        """Put a message on the active path, in place of its alternatives; after it, the path is as it was last."""
        with self._database.write() as db:
            choose_path(db, entry_id)
            revise(db, entry_id)

    def delete_branch(self, entry_id: str) -> None:
        """Delete a message and all that follows it; `restore_branch` brings them back."""
        with self._database.write() as db:
            mark_below(db, entry_id, is_deleted=True)

    def restore_branch(self, entry_id: str) -> None:
        """Bring back what was deleted together with this message."""
        with self._database.write() as db:
            mark_below(db, entry_id, is_deleted=False)

    # Whole conversations

    def rename(self, conversation_id: str, title: str) -> None:
        """Retitle a conversation; a blank title changes nothing."""
        if cleaned := title_given(title):
            self._change(conversation_id, "title", cleaned)

    def retitle(self, conversation_id: str, title: str, before: str) -> bool:
        """Replace the title `before` by another; return whether it was that, and nobody had changed it."""
        with self._database.write() as db:
            return retitle(db, conversation_id, title, before)

    def copy(self, entry_id: str) -> str:
        """Copy a conversation up to a message into a new one, with the versions of each message; return the new id.

        Its settings name what it was copied from: `{"chat": id, "message": id}` under COPIED_FROM.
        """
        transcript = self.transcript(self._conversation_of(entry_id))
        copied = copy_until(transcript, entry_id)
        self.merge([copied])
        return copied.conversation.id

    def pin(self, conversation_id: str, pinned: bool) -> None:
        """Pin a conversation to the head of the list, or unpin it."""
        self._change(conversation_id, "pinned", int(pinned))

    def set_settings(self, conversation_id: str, **settings: Any) -> None:
        """Set values of a conversation's settings, by key: `store.set_settings(chat_id, temperature=0.2)`.

        Values are anything that JSON can hold; None removes a key. They are read as `conversation.settings`, and are
        part of an export and of its import.
        """
        with self._database.write() as db:
            add_settings(db, conversation_id, settings)

    def delete_untouched(self, days: int, keep: Sequence[str] = ()) -> int:
        """Delete the conversations without a change for a number of days; pinned ones and those in `keep` stay.

        Returns their number. They can be brought back, as any that was deleted.
        """
        with self._database.write() as db:
            old = untouched_since(db, time.time() - days * DAY, keep)
            for conversation_id in old:
                change_conversation(db, conversation_id, "deleted", deletion_time(db, conversation_id))
        return len(old)

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation; `undelete` brings it back within the next 30 days."""
        with self._database.write() as db:
            change_conversation(db, conversation_id, "deleted", deletion_time(db, conversation_id))

    def undelete(self, conversation_id: str, *, is_touched: bool = False) -> None:
        """Bring a deleted conversation back; one that is touched isn't old any more for `delete_untouched`."""
        with self._database.write() as db:
            change_conversation(db, conversation_id, "deleted", None)
            if is_touched:
                change_conversation(db, conversation_id, "updated", time.time())

    def purge(self, conversation_id: str = "") -> None:
        """Remove a deleted conversation for good; without an id, all that are deleted."""
        with self._database.write() as db:
            remove_for_good(db, "deleted IS NOT NULL AND ? IN ('', id)", conversation_id)

    def purge_everything(self) -> None:
        """Remove all conversations for good, deleted or not, and what personas remember."""
        with self._database.write() as db:
            remove_for_good(db, "? = ''", "")
            db.execute("DELETE FROM facts")

    def merge(self, transcripts: Iterable[Transcript]) -> int:
        """Import conversations, all or none, and return the number of messages that are new.

        What is here already stays as it is, so a second import of the same changes nothing; a conversation that was
        deleted here comes back. Raises StorageError where a message belongs to another conversation here.
        """
        with self._database.write() as db:
            return merge(db, transcripts)

    def _change(self, conversation_id: str, column: str, value: object) -> None:
        with self._database.write() as db:
            change_conversation(db, conversation_id, column, value)

    def _begin(self, db: Connection, conversation_id: str, title: str, settings: Mapping[str, Any] | None) -> None:
        """Begin a conversation, or begin one anew whose first message was taken back."""
        if touch(db, conversation_id):
            restart(db, conversation_id, title)
        else:
            begin(db, conversation_id, title)
            add_settings(db, conversation_id, settings or {})

    def _add_reply(self, db: Connection, conversation_id: str, question_id: str, persona: str, model: str) -> str:
        writer = self._writers.own_mark()
        return add_message(db, conversation_id, question_id, "assistant", "", persona, model, writer)
