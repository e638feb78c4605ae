"""The tables, as a list of migrations: `user_version` is the number of those that a store has had."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Migration = tuple[str, ...]

# The full-text index parts texts at spaces and punctuation, and compares characters as they are. It can't look into
# these: scripts without spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese and their like), Korean,
# whose words carry endings, letters that come in several shapes (ﬁ, ⅷ, half and full width, 𝐛𝐨𝐥𝐝), and words with marks
# or invisible characters in them, at which it would part them (हिन्दी, שָׁלוֹם, السَّلَام, soft hyphens). Messages that
# hold one of them are in an index of their own, and the search reads their texts. Another list needs a new migration.
UNINDEXED = (
    "\u00ad\u0483-\u0489\u0591-\u05c7\u0610-\u061c\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07fd"
    "\u0816-\u082d\u0859-\u085b\u0897-\u089f\u08ca-\u0dff\u135d-\u135f\u1712-\u1773\u180b-\u18aa\u1920-\u193b\u1a17-\u1a1b"
    "\u1b00-\u1c4f\u1cd0-\u1cff\u200b-\u200d\ua800-\ua95f\ua980-\ua9df\uaae0-\uaaff\uabc0-\uabff\U00010a01-\U00010a3f"
    "\U00011000-\U00011fff"
    "\u00aa\u00b2\u00b3\u00b5\u00b9-\u00be\u0132\u0133\u013f\u0140\u0149\u017f\u01c4-\u01cc\u01f1-\u01f3\u02b0-\u02b8\u02e0-\u02e4\u03d0-\u03d6"
    "\u03f0-\u03f9\u0587\u0675-\u0678\u0e00-\u0fff\u1000-\u109f\u10fc\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aff\u1d2c-\u1dbf\u1e9a\u1e9b"
    "\u2070-\u209f\u2100-\u218f\u2460-\u24ff\u2c7c\u2c7d\u2cef-\u2cf1\u2d6f-\u2d7f\u2de0-\u2dff\u2e80-\u2fdf\u3000-\ua4cf\ua69c\ua69d\ua770\ua7f2-\ua7f9\ua960-\ua97f\ua9e0-\uaa7f"
    "\uab5c-\uab69\uac00-\ud7ff\uf900-\ufdff\ufe70-\ufeff\uff01-\uffef\U00010781-\U000107ba\U0001aff0-\U0001b16f\U0001d400-\U0001d7ff"
    "\U0001ee00-\U0001eeff\U0001f100-\U0001f10a\U0001fbf0-\U0001fbf9\U00020000-\U0003ffff"
)
HOLDS_UNINDEXED = f"text GLOB '*[{UNINDEXED}]*'"

# `chosen` of a message is the answer that was looked at last; that of a conversation, its first message. From there
# the active path is walked, and every alternative keeps its own continuation.
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
    (f"CREATE INDEX messages_unindexed ON messages (number) WHERE {HOLDS_UNINDEXED}",),
    (  # the list has grown
        "DROP INDEX messages_unindexed",
        f"CREATE INDEX messages_unindexed ON messages (number) WHERE {HOLDS_UNINDEXED}",
    ),
    (
        "ALTER TABLE messages ADD COLUMN thought TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE conversations ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'",
    ),
    ("CREATE INDEX messages_with_thought ON messages (number) WHERE thought <> ''",),
    (
        """CREATE TABLE facts (
            id TEXT PRIMARY KEY,
            persona TEXT NOT NULL,
            text TEXT NOT NULL,
            origin TEXT NOT NULL CHECK (origin IN ('model', 'user')),
            chat TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            created REAL NOT NULL
        )""",
        "CREATE INDEX facts_by_persona ON facts (persona, created)",
    ),
)


def version_of(db: sqlite3.Connection) -> int:
    """Return the number of migrations that the store has had."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or undo all of it where the block or the commit fails."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite may have undone it by itself, as it does where the disk is full
            db.execute("ROLLBACK")
        raise


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Run the migrations that the store hasn't had: all of them or, where one fails, none."""
    if version_of(db) == len(migrations):
        return
    with transaction(db):
        for number, statements in enumerate(migrations[version_of(db) :], start=version_of(db) + 1):
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number:d}")
