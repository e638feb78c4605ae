"""The work at a store's start: interrupted replies are marked, and what was deleted long ago is removed."""

import time

from menny.storage.database import Database
from menny.storage.writers import Writers

DAY = 24 * 3600.0  # seconds
KEEP_DELETED = 30 * DAY  # the time in which what was deleted can be brought back
SEEN = "expired"  # the counter that holds when something was first seen to be past that time


def mark_interrupted(database: Database, writers: Writers) -> None:
    """Mark the replies as interrupted whose writers ended over them, so that pages which show them are redrawn."""
    with database.read() as db:
        marks = [row[0] for row in db.execute("SELECT DISTINCT writer FROM messages WHERE status = 'growing'")]
    for dead in [mark for mark in marks if not writers.is_alive(mark)]:
        with database.write() as db:
            db.execute(
                "UPDATE conversations SET revision = revision + 1 WHERE id IN "
                "(SELECT conversation FROM messages WHERE status = 'growing' AND writer = ?)",
                (dead,),
            )
            db.execute(
                "UPDATE messages SET status = 'interrupted', writer = '' WHERE status = 'growing' AND writer = ?",
                (dead,),
            )
    writers.remove_dead()


def remove_expired(database: Database) -> None:
    """Remove what was deleted more than KEEP_DELETED ago.

    Only where two starts, a day or more apart, agree that it is that old: a clock that is wrong at one of them, as
    after a flat battery, must not remove what was deleted just now.
    """
    now = time.time()
    before = now - KEEP_DELETED
    with database.read() as db:
        expired = [
            table
            for table in ("conversations", "messages")
            if db.execute(f"SELECT 1 FROM {table} WHERE deleted < ? LIMIT 1", (before,)).fetchone()  # noqa: S608 - ours
        ]
        row = db.execute("SELECT value FROM counters WHERE name = ?", (SEEN,)).fetchone()
    seen = row[0] if row else None
    is_confirmed = bool(expired) and seen is not None and seen + DAY <= now
    if seen is None and not expired:
        return
    if expired and seen is not None and now - DAY < seen <= now:
        return  # it is too early to say
    with database.write() as db:
        db.execute("DELETE FROM counters WHERE name = ?", (SEEN,))
        if is_confirmed:
            for table in expired:
                db.execute(f"DELETE FROM {table} WHERE deleted < ?", (before,))  # noqa: S608 - one of ours
            db.execute("INSERT INTO said (said) VALUES ('optimize')")  # else its words stay in the index
            db.execute("INSERT INTO titles (titles) VALUES ('optimize')")
        elif expired:
            db.execute("INSERT INTO counters VALUES (?, ?)", (SEEN, int(now)))
