"""Full-text search: which conversations hold certain words, and where."""

import re
from collections.abc import Iterator
from sqlite3 import Connection, Row

from menny.text import sanitize

Excerpt = tuple[tuple[str, bool], ...]
END = 100  # characters of either end of a long piece

Found = tuple[Row, str | None, Excerpt]

_MARKED = re.compile("\x02(.*?)\x03", re.DOTALL)
# Scripts that set no spaces between words: the index knows their sentences, not their words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")

_IN_TITLES = """SELECT c.*, NULL AS entry, highlight(titles, 0, char(2), char(3)) AS excerpt
    FROM titles JOIN conversations c ON c.number = titles.rowid
    WHERE titles MATCH :words AND c.deleted IS NULL ORDER BY c.updated DESC LIMIT :limit"""
_IN_MESSAGES = """SELECT c.*, m.id AS entry, snippet(said, 0, char(2), char(3), '…', 12) AS excerpt
    FROM said JOIN messages m ON m.number = said.rowid JOIN conversations c ON c.id = m.conversation
    WHERE said MATCH :words AND m.deleted IS NULL AND c.deleted IS NULL ORDER BY said.rank LIMIT 20 * :limit"""
_LIKE_TITLES = """SELECT c.*, NULL AS entry, c.title AS excerpt FROM conversations c
    WHERE {holds} AND c.deleted IS NULL ORDER BY c.updated DESC LIMIT ?"""
_LIKE_MESSAGES = """SELECT c.*, m.id AS entry, m.text AS excerpt
    FROM messages m JOIN conversations c ON c.id = m.conversation
    WHERE {holds} AND m.deleted IS NULL AND c.deleted IS NULL ORDER BY m.number DESC LIMIT 20 * ?"""


def search(db: Connection, text: str, limit: int) -> list[Found]:
    """The rows of conversations in which all words of a text occur, one hit each; titles come first."""
    text = " ".join(sanitize(text).split())[:200]
    words = re.findall(r"\w+", text)
    found: dict[str, Found] = {}
    if not text:
        return []
    if words and not _UNSPACED.search(text):
        match = " ".join(f'"{word}"*' for word in words)
        for query in (_IN_TITLES, _IN_MESSAGES):
            for row in db.execute(query, {"words": match, "limit": limit}):
                found.setdefault(row["id"], (row, row["entry"], tuple(_marked(row["excerpt"]))))
    else:
        pieces = text.split()
        likes = ["%" + re.sub(r"([%_\\])", r"\\\1", piece) + "%" for piece in pieces]
        for query, column in ((_LIKE_TITLES, "c.title"), (_LIKE_MESSAGES, "m.text")):
            holds = " AND ".join(f"{column} LIKE ? ESCAPE '\\'" for _ in likes)
            for row in db.execute(query.format(holds=holds), (*likes, limit)):
                found.setdefault(row["id"], (row, row["entry"], tuple(_around(row["excerpt"], pieces[0]))))
    return list(found.values())[:limit]


def _marked(excerpt: str) -> Iterator[tuple[str, bool]]:
    at = 0
    excerpt = " ".join(excerpt.split())
    for match in _MARKED.finditer(excerpt):
        yield _shortened(excerpt[at : match.start()]), False
        yield _shortened(match[1]), True
        at = match.end()
    yield _shortened(excerpt[at:]), False


def _shortened(piece: str) -> str:
    """A piece of an excerpt without the middle of what is endlessly long, such as an address or a picture as text."""
    return piece if len(piece) <= 2 * END else piece[:END] + "…" + piece[-END:]


def _around(whole: str, text: str) -> Iterator[tuple[str, bool]]:
    whole = " ".join(whole.split())
    at = max(whole.casefold().find(text.casefold()), 0)
    start = max(at - 30, 0)
    yield ("…" if start else "") + whole[start:at], False
    yield whole[at : at + len(text)], True
    yield whole[at + len(text) : at + len(text) + 40], False
