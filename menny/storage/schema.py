"""The tables, as a list of steps: `user_version` says how many a store has behind it, and the others are taken."""

import sqlite3
from collections.abc import Sequence

Migration = tuple[str, ...]

# A message remembers by `chosen` which of its answers was looked at last; a conversation does so for its first
# messages. From there the active path is walked, and every alternative still knows its own way on.
MIGRATIONS: tuple[Migration, ...] = (
    (
        """CREATE TABLE conversations (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            pinned INTEGER NOT NULL DEFAULT 0,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            deleted REAL,
            chosen TEXT,
            revision INTEGER NOT NULL DEFAULT 0
        )""",
        """CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent TEXT REFERENCES messages (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            text TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('growing', 'whole', 'interrupted')),
            finish_reason TEXT,
            error TEXT NOT NULL DEFAULT '',
            persona TEXT NOT NULL DEFAULT '',
            model TEXT NOT NULL DEFAULT '',
            figures TEXT NOT NULL DEFAULT '{}',
            extra TEXT NOT NULL DEFAULT '{}',
            created REAL NOT NULL,
            deleted REAL,
            chosen TEXT,
            writer TEXT NOT NULL DEFAULT ''
        )""",
        "CREATE INDEX messages_by_conversation ON messages (conversation, number)",
        "CREATE INDEX messages_by_parent ON messages (parent)",
        "CREATE INDEX messages_growing ON messages (writer) WHERE status = 'growing'",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
        "INSERT INTO counters VALUES ('list', 0)",
        """CREATE VIRTUAL TABLE said USING fts5 (
            text, content = 'messages', content_rowid = 'number',
            tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
        )""",
        """CREATE VIRTUAL TABLE titles USING fts5 (
            title, content = 'conversations', content_rowid = 'number',
            tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
        )""",
        """CREATE TRIGGER said_new AFTER INSERT ON messages BEGIN
            INSERT INTO said (rowid, text) VALUES (new.number, new.text);
        END""",
        """CREATE TRIGGER said_gone AFTER DELETE ON messages BEGIN
            INSERT INTO said (said, rowid, text) VALUES ('delete', old.number, old.text);
        END""",
        """CREATE TRIGGER said_otherwise AFTER UPDATE OF text ON messages BEGIN
            INSERT INTO said (said, rowid, text) VALUES ('delete', old.number, old.text);
            INSERT INTO said (rowid, text) VALUES (new.number, new.text);
        END""",
        """CREATE TRIGGER title_new AFTER INSERT ON conversations BEGIN
            INSERT INTO titles (rowid, title) VALUES (new.number, new.title);
        END""",
        """CREATE TRIGGER title_gone AFTER DELETE ON conversations BEGIN
            INSERT INTO titles (titles, rowid, title) VALUES ('delete', old.number, old.title);
        END""",
        """CREATE TRIGGER title_otherwise AFTER UPDATE OF title ON conversations BEGIN
            INSERT INTO titles (titles, rowid, title) VALUES ('delete', old.number, old.title);
            INSERT INTO titles (rowid, title) VALUES (new.number, new.title);
        END""",
    ),
)


def version_of(db: sqlite3.Connection) -> int:
    """How many steps the store has behind it."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Take the steps that are still to be taken, all of them or, where one fails, none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for number, statements in enumerate(migrations[version_of(db) :], start=version_of(db) + 1):
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number:d}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
