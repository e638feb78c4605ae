"""Facts: what a persona remembers of the user across chats, each with the message that it came from."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Any, Literal

from menny.storage.database import Database
from menny.storage.values import new_id
from menny.text import is_blank, sanitize

Origin = Literal["model", "user"]  # noted by the model from a chat, or written by the user

LONGEST = 300  # characters
MOST = 1_000  # of a persona


@dataclass(frozen=True, slots=True)
class Fact:
    """A line that a persona remembers; `chat` and `message` are the ids of what it came from, where there is that."""

    id: str
    persona: str
    text: str
    origin: Origin = "user"
    chat: str = ""
    message: str = ""
    created: float = 0.0


class Facts:
    """The facts in a store, by persona. Every change is one transaction; all raise StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, persona: str) -> list[Fact]:
        """Return what a persona remembers, the oldest first."""
        with self._database.read() as db:
            rows = db.execute("SELECT * FROM facts WHERE persona = ? ORDER BY created, rowid", (persona,)).fetchall()
        return [_fact(row) for row in rows]

    def of_chat(self, chat: str) -> list[Fact]:
        """Return the facts that come from a chat, the oldest first."""
        with self._database.read() as db:
            rows = db.execute("SELECT * FROM facts WHERE chat = ? ORDER BY created, rowid", (chat,)).fetchall()
        return [_fact(row) for row in rows]

    def forget_of(self, message: str) -> None:
        """Delete the facts that come from a message, as that left its chat."""
        with self._database.write() as db:
            db.execute("DELETE FROM facts WHERE message = ?", (message,))

    def all(self) -> list[Fact]:
        """Return all facts, of all personas."""
        with self._database.read() as db:
            rows = db.execute("SELECT * FROM facts ORDER BY persona, created, rowid").fetchall()
        return [_fact(row) for row in rows]

    def add(
        self, persona: str, texts: Iterable[str], origin: Origin = "user", chat: str = "", message: str = ""
    ) -> list[Fact]:
        """Add facts; blank ones, and those that are there already, are left out. Returns those that are new."""
        added: list[Fact] = []
        with self._database.write() as db:
            there = [row["text"] for row in db.execute("SELECT text FROM facts WHERE persona = ?", (persona,))]
            known = {_compared(text) for text in there}
            for text in map(as_line, texts):
                if is_blank(text) or _compared(text) in known or len(known) >= MOST:
                    continue
                known.add(_compared(text))
                fact = Fact(new_id(), persona, text, origin, chat, message, time.time())
                _insert(db, fact)
                added.append(fact)
        return added

    def edit(self, fact_id: str, text: str) -> None:
        """Change a fact's text; a blank one changes nothing. It is the user's from then on."""
        if not is_blank(line := as_line(text)):
            with self._database.write() as db:
                db.execute("UPDATE facts SET text = ?, origin = 'user' WHERE id = ?", (line, fact_id))

    def forget(self, fact_id: str) -> None:
        """Delete a fact."""
        with self._database.write() as db:
            db.execute("DELETE FROM facts WHERE id = ?", (fact_id,))

    def forget_all(self, persona: str) -> None:
        """Delete all that a persona remembers."""
        with self._database.write() as db:
            db.execute("DELETE FROM facts WHERE persona = ?", (persona,))

    def merge(self, facts: Iterable[Fact]) -> int:
        """Add facts of an archive, under their ids, unless they are here already. Returns how many are new."""
        added = 0
        with self._database.write() as db:
            there = db.execute("SELECT id, persona, text FROM facts").fetchall()
            ids, known = {row["id"] for row in there}, {(row["persona"], _compared(row["text"])) for row in there}
            for fact in facts:
                place = fact.persona, _compared(fact.text)
                if fact.id not in ids and place not in known:
                    ids.add(fact.id)
                    known.add(place)
                    _insert(db, fact)
                    added += 1
        return added


def as_line(text: str) -> str:
    """A fact as one line of bounded length."""
    line = " ".join(sanitize(text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def _compared(text: str) -> str:
    return text.casefold().rstrip(".!")


def _insert(db: Connection, fact: Fact) -> None:
    values: tuple[Any, ...] = (fact.id, fact.persona, fact.text, fact.origin, fact.chat, fact.message, fact.created)
    db.execute(
        "INSERT INTO facts (id, persona, text, origin, chat, message, created) VALUES (?, ?, ?, ?, ?, ?, ?)", values
    )


def _fact(row: Row) -> Fact:
    origin: Origin = "model" if row["origin"] == "model" else "user"
    return Fact(row["id"], row["persona"], row["text"], origin, row["chat"], row["message"], row["created"])
