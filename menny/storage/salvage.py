"""Chats saved from a damaged store: every row that can still be read is copied to a new one."""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any, get_args

from menny.engine_protocols import FinishReason
from menny.storage.errors import UNREADABLE
from menny.storage.rows import lenient_text, title_of

FARTHEST_SKIP = 2**24  # rows; beyond that a table's end is taken for reached
LONGEST_ID = 100  # characters

_CONVERSATION = (
    "INSERT INTO conversations (id, title, pinned, created, updated, deleted, chosen, settings) "
    "VALUES (?,?,?,?,?,?,?,?)"
)
_MESSAGE = """INSERT INTO messages (id, conversation, parent, role, text, status, finish_reason, error, persona, model,
    figures, extra, thought, created, deleted, chosen, writer) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""

_FACT = "INSERT INTO facts (id, persona, text, origin, chat, message, created) VALUES (?,?,?,?,?,?,?)"


def salvage(damaged: Path, target: Connection) -> int:
    """Copy what can be read of a damaged store into an empty one, within the caller's transaction.

    Returns the number of chats that were saved. A message whose parent is lost follows the one saved before it, and a
    chat whose own row is lost gets a title from its first message. The damaged file is only read.
    """
    try:
        source = sqlite3.connect(f"{damaged.resolve().as_uri()}?mode=ro", uri=True)
    except UNREADABLE:
        return 0
    with closing(source):
        source.row_factory, source.text_factory = Row, lenient_text
        for row in _readable_rows(source, "conversations"):
            _save_conversation(target, row)
        last: dict[str, str] = {}  # the message that was saved last, by conversation
        for row in _readable_rows(source, "messages"):
            _save_message(target, row, last)
        for row in _readable_rows(source, "facts"):
            _save_fact(target, row)
    target.execute("DELETE FROM conversations WHERE id NOT IN (SELECT conversation FROM messages)")
    return int(target.execute("SELECT count(*) FROM conversations WHERE deleted IS NULL").fetchone()[0])


def _readable_rows(source: Connection, table: str) -> Iterator[Mapping[str, Any]]:
    """Yield a table's rows in order, without those that lie in damaged pages; a column that is lost is None."""
    last = -1
    while True:
        try:
            query = f"SELECT rowid AS place, * FROM {table} WHERE rowid > ? ORDER BY rowid"  # noqa: S608 - one of ours
            for row in source.execute(query, (last,)):
                if row["place"] <= last:  # the pages lead round in a circle
                    break
                last = row["place"]
                yield defaultdict(lambda: None, dict(row))
            else:
                return
        except UNREADABLE:
            pass
        skipped = _after_damage(source, table, last)
        if skipped is None:
            return
        last = skipped


def _after_damage(source: Connection, table: str, last: int) -> int | None:
    """Return the least number after which rows can be read again; None where there are none."""

    def can_read_after(number: int) -> bool:
        query = f"SELECT * FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT 1"  # noqa: S608 - one of ours
        try:
            return source.execute(query, (number,)).fetchone() is not None
        except UNREADABLE:
            return False

    step = 1
    while not can_read_after(last + step):
        step *= 2
        if step > FARTHEST_SKIP:
            return None
    low, high = last + step // 2, last + step  # rows after `high` can be read, those after `low` can't
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if can_read_after(middle) else (middle, high)
    return high


def _save_conversation(target: Connection, row: Mapping[str, Any]) -> None:
    if not _is_id(row["id"]):
        return
    chosen = row["chosen"] if _is_id(row["chosen"]) else None
    times = (_time(row["created"]) or 0.0, _time(row["updated"]) or 0.0, _time(row["deleted"]))
    values = (row["id"], _text(row["title"]) or "…", int(row["pinned"] == 1), *times, chosen, _text(row["settings"]))
    _insert(target, _CONVERSATION, values)


def _save_message(target: Connection, row: Mapping[str, Any], last: dict[str, str]) -> None:
    conversation, text = row["conversation"], _text(row["text"])
    if not _is_id(row["id"]) or not _is_id(conversation) or row["role"] not in ("user", "assistant"):
        return
    created = _time(row["created"]) or 0.0
    if target.execute("SELECT 1 FROM conversations WHERE id = ?", (conversation,)).fetchone() is None:
        _insert(target, _CONVERSATION, (conversation, title_of(text) or "…", 0, created, created, None, None, ""))
    parent = row["parent"]
    if parent is not None and (not _is_id(parent) or not _is_here(target, conversation, parent)):
        parent = last.get(conversation)
    reason = row["finish_reason"] if row["finish_reason"] in get_args(FinishReason) else None
    status = row["status"] if row["status"] in ("growing", "whole") else "interrupted"
    texts = [_text(row[column]) for column in ("error", "persona", "model", "figures", "extra", "thought")]
    chosen = row["chosen"] if _is_id(row["chosen"]) else None
    ending = (created, _time(row["deleted"]), chosen, _text(row["writer"]))
    values = (row["id"], conversation, parent, row["role"], text, status, reason, *texts, *ending)
    if _insert(target, _MESSAGE, values):
        last[conversation] = row["id"]


def _save_fact(target: Connection, row: Mapping[str, Any]) -> None:
    texts = [_text(row[column]) for column in ("persona", "text", "origin", "chat", "message")]
    if _is_id(row["id"]) and texts[1]:
        _insert(target, _FACT, (row["id"], *texts, _time(row["created"]) or 0.0))


def _insert(target: Connection, statement: str, values: tuple[Any, ...]) -> bool:
    """Insert a row, unless it breaks a rule of the table, as one that stands twice does."""
    try:
        target.execute(statement, values)
    except sqlite3.IntegrityError:
        return False
    return True


def _is_here(target: Connection, conversation: str, entry_id: str) -> bool:
    query = "SELECT 1 FROM messages WHERE id = ? AND conversation = ?"
    return target.execute(query, (entry_id, conversation)).fetchone() is not None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isascii() and value.isprintable()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(value: object) -> float | None:
    is_time = isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1e11
    return float(value) if is_time and isinstance(value, int | float) else None
