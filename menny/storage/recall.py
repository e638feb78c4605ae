"""Recall: the earlier messages that bear on a question, the best first, by SQLite's full-text index and BM25.

A message counts where it has words of the question, or words that begin as they do: rare words count more than common
ones, short messages more than long ones. Messages that the index can't look into (`schema.UNINDEXED`), as those in
scripts without spaces, are compared by pairs of letters.
"""

import json
import re
from collections.abc import Collection
from sqlite3 import Connection, Row

from menny.storage.schema import HOLDS_UNINDEXED, UNINDEXED
from menny.storage.search import fold

MOST_WORDS = 40  # of a question
LEAST_PAIRS = 2  # of letters, that a question and a message in a script without spaces have in common

_UNINDEXED = re.compile(f"[{UNINDEXED}]")
_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?:ies|ing|ied|ed|es|ic|s|e|y)$")
LEAST_STEM = 4  # letters
_COMMON = """a about after again all am an and any are as at be because been before but by can could did do does for
    from get go got had has have he her him his how i if in into is it its just let like may me might mine more my name
    no not now of off on one only or our out over really remember said say she should so some tell than that the their
    them then there these they thing this those through to told too up us very want was we were what when where which
    who why will with would yes you your re ve ll don didn doesn isn won"""
COMMON = frozenset(_COMMON.split())  # English words that say nothing of what a question is about

_AMONG = """(m.id IN (SELECT value FROM json_each(:among)) OR (:persona != '' AND m.conversation != :chat
    AND m.conversation IN (SELECT conversation FROM messages WHERE persona = :persona AND deleted IS NULL)))
    AND m.deleted IS NULL AND c.deleted IS NULL"""
_INDEXED_OF = """SELECT m.* FROM said JOIN messages m ON m.number = said.rowid
    JOIN conversations c ON c.id = m.conversation
    WHERE said MATCH :query AND {} ORDER BY bm25(said) LIMIT :limit"""
_READ_OF = """SELECT m.* FROM messages m JOIN conversations c ON c.id = m.conversation
    WHERE m.{} AND {}"""
_INDEXED, _READ = _INDEXED_OF.format(_AMONG), _READ_OF.format(HOLDS_UNINDEXED, _AMONG)


def recall(
    db: Connection, question: str, chat_id: str, among: Collection[str], persona: str = "", limit: int = 5
) -> list[Row]:
    """Return the rows of at most `limit` messages that bear on a question, the best first.

    They are among the messages of these ids, and with a persona's id also among those of the other chats in which that
    persona has answered.
    """
    values = {"among": json.dumps(list(among)), "persona": persona, "chat": chat_id, "limit": limit}
    found: list[Row] = []
    if query := indexed_query(question):
        found = db.execute(_INDEXED, {**values, "query": query}).fetchall()
    if _UNINDEXED.search(question):
        asked = _pairs(question)
        rows = db.execute(_READ, values).fetchall()
        shared = [(len(asked & _pairs(row["text"])), row) for row in rows]
        near = sorted((item for item in shared if item[0] >= LEAST_PAIRS), key=lambda item: -item[0])
        found = [*(row for _, row in near), *found]
    unique = {row["id"]: row for row in found}
    return list(unique.values())[:limit]


def indexed_query(question: str) -> str:
    """The query of a question for the full-text index: any of its words' stems; "" where it has none."""
    words = dict.fromkeys(word for word in _WORD.findall(fold(question)) if word not in COMMON)
    stems = dict.fromkeys(_stem(word) for word in list(words)[:MOST_WORDS] if not _UNINDEXED.search(word))
    return " OR ".join(f'"{stem}"*' if len(stem) >= LEAST_STEM else f'"{stem}"' for stem in stems)


def _stem(word: str) -> str:
    """A word without its English ending, unless that leaves too little of it."""
    stem = _ENDING.sub("", word)
    return stem if len(stem) >= LEAST_STEM else word


def _pairs(text: str) -> set[str]:
    folded = "".join(_WORD.findall(fold(text)))
    return {folded[at : at + 2] for at in range(len(folded) - 1)}
