"""Full-text search: the conversations that hold certain words, and where.

Words of scripts with spaces are looked up in SQLite's full-text index, by their beginnings. Messages that the index
can't look into (`schema.UNINDEXED`) are read: there a word of a script without spaces is found anywhere, and a Latin
one also where it is glued to such a script, as in 我想买新的iPhone手机. Letters are the same in any case, width and
accent, with and without the points of Hebrew and the vowel marks of Arabic. Invisible characters don't count, nor does
punctuation; a sign at a word does, as in C++, C#, 50% and $5.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from sqlite3 import Connection, Row

from menny.storage.schema import HOLDS_UNINDEXED, UNINDEXED
from menny.text import sanitize

Excerpt = tuple[tuple[str, bool], ...]
Found = tuple[Row, str | None, Excerpt]  # a conversation's row, a message's id, an excerpt

LONGEST_QUERY = 200  # characters
END = 100  # characters of either end of a long piece
BEFORE, AFTER = 30, 40  # characters of an excerpt around what was found
MOST_SHARP = 3  # places of a word where ß may stand for ss
SIGNS = frozenset("#@%&\\")  # beside mathematical, monetary and other symbols: what is punctuation for Unicode only

_MARKED = re.compile("\x02(.*?)\x03", re.DOTALL)
_UNINDEXED = re.compile(f"[{UNINDEXED}]")
_ACCENTED = re.compile("[\u00c0-\u024f\u0300-\u06ff\u1e00-\u1fff]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_IGNORED = re.compile(  # soft hyphens, joiners and spaces without width; points, vowel marks and long strokes
    "[\u00ad\u200b-\u200d\u2060\ufeff\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u061c\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a]"
)
_BEGINNING = rf"(?<![^\W_{UNINDEXED}])"  # of a word
_CLUSTER = re.compile(  # what folds as one: a letter, and what NFKC may join to it
    ".[\u0300-\u036f\u0653-\u0655\u093c\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0c56\u0cc2\u0cd5\u0cd6\u0d3e\u0d57"
    "\u0dca\u0dcf\u0ddf\u102e\u1b35\u3099\u309a\uff9e\uff9f\u1160-\u11ff]*",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Source:
    """Where to search: statements that give the number of a row and its conversation."""

    ranked: str  # by the full-text index, the best first; "" without one
    unindexed: str  # with the text, for those that the index can't look into
    everything: str  # with the text
    excerpt: str
    result: str


_OF_MESSAGES = """SELECT m.number, m.conversation, m.text FROM messages m JOIN conversations c ON c.id = m.conversation
    WHERE {} AND m.deleted IS NULL AND c.deleted IS NULL ORDER BY m.number DESC"""
_OF_TITLES = "SELECT number, id, title FROM conversations WHERE deleted IS NULL ORDER BY updated DESC"
TITLES = _Source(
    """SELECT c.number, c.id FROM titles JOIN conversations c ON c.number = titles.rowid
    WHERE titles MATCH ? AND c.deleted IS NULL ORDER BY c.updated DESC""",
    _OF_TITLES,
    _OF_TITLES,
    "SELECT highlight(titles, 0, char(2), char(3)) FROM titles WHERE titles MATCH ? AND rowid = ?",
    "SELECT *, NULL AS entry, title AS text FROM conversations WHERE number = ?",
)
MESSAGES = _Source(
    """SELECT m.number, m.conversation FROM said JOIN messages m ON m.number = said.rowid
    JOIN conversations c ON c.id = m.conversation
    WHERE said MATCH ? AND m.deleted IS NULL AND c.deleted IS NULL ORDER BY said.rank""",
    _OF_MESSAGES.format(f"m.{HOLDS_UNINDEXED}"),
    _OF_MESSAGES.format("1"),
    "SELECT snippet(said, 0, char(2), char(3), '…', 12) FROM said WHERE said MATCH ? AND rowid = ?",
    """SELECT c.*, m.id AS entry, m.text FROM messages m JOIN conversations c ON c.id = m.conversation
    WHERE m.number = ?""",
)
_OF_THOUGHTS = """SELECT m.number, m.conversation, m.thought FROM messages m JOIN conversations c
    ON c.id = m.conversation WHERE m.thought <> '' AND m.deleted IS NULL AND c.deleted IS NULL ORDER BY m.number DESC"""
THOUGHTS = _Source(
    "",
    _OF_THOUGHTS,
    _OF_THOUGHTS,
    "",
    """SELECT c.*, m.id AS entry, m.thought AS text FROM messages m JOIN conversations c ON c.id = m.conversation
    WHERE m.number = ?""",
)


@dataclass(frozen=True)
class Query:
    """The pieces of a text between its spaces; all of them have to be found."""

    pieces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Query":
        """Read a text that a user typed."""
        typed = unicodedata.normalize("NFKC", sanitize(text)[:LONGEST_QUERY])
        return cls(tuple(_IGNORED.sub("", typed).split()))

    @cached_property
    def indexed(self) -> str:
        """The query for the full-text index; "" where that can't find it."""
        words = [word for piece in self.pieces for word in _words(piece)]
        is_readable = words and not any(_UNINDEXED.search(piece) for piece in self.pieces)
        ways = (" OR ".join(f'"{spelling}"*' for spelling in _spellings(word)) for word in words)
        return " AND ".join(f"({way})" for way in ways) if is_readable else ""

    @cached_property
    def has_signs(self) -> bool:
        """Whether a word has a sign, which the index doesn't know: its hits have to be read."""
        return any(_is_signed(piece) for piece in self.pieces)

    @property
    def is_without_words(self) -> bool:
        """Whether it is punctuation and signs only, which no index knows."""
        return not any(map(_words, self.pieces))

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """What a folded text has to hold."""
        return tuple(pattern for piece in self.pieces for pattern in _patterns(fold(piece)))

    def matches(self, text: str) -> bool:
        """Return whether a text holds every piece."""
        folded = fold(text)
        return all(pattern.search(folded) for pattern in self.patterns)


def search(db: Connection, text: str, limit: int, in_thoughts: bool = False) -> list[Found]:
    """Return the conversations in which all words of a text occur, each with its best hit; titles come first.

    `in_thoughts`: also those where a model thought so. Thoughts are read, as they are in no index.
    """
    query = Query.of(text)
    found: dict[str, tuple[_Source, int, bool]] = {}
    sources = (TITLES, MESSAGES, THOUGHTS) if in_thoughts else (TITLES, MESSAGES)
    for source in sources if query.pieces else ():
        for conversation, number, is_indexed in _hits(db, source, query):
            if len(found) >= limit:
                break
            found.setdefault(conversation, (source, number, is_indexed))
    results = (_result(db, query, *hit) for hit in found.values())
    return [result for result in results if result is not None]


def fold(text: str) -> str:
    """Return a text in the form that is compared: small letters of ordinary width, without accents and the like."""
    folded = _IGNORED.sub("", unicodedata.normalize("NFKC", text).casefold())
    if _ACCENTED.search(folded):
        folded = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", folded)))
    return folded


def _words(piece: str) -> list[str]:
    return re.findall(r"\w+", piece)


def _spellings(word: str) -> list[str]:
    """Return the ways to write a word with ß or ss, which the index takes for two letters; it may end within them."""
    plain = word.lower().replace("ß", "ss")
    places = [match.span() for match in re.finditer("ss|s$", plain)][-MOST_SHARP:]
    spellings = [plain]
    for start, end in reversed(places):
        spellings += [f"{spelling[:start]}ß{spelling[end:]}" for spelling in spellings]
    return spellings if places else [word]


def _is_sign(character: str) -> bool:
    return character in SIGNS or unicodedata.category(character) in ("Sm", "Sc", "So")


def _is_signed(piece: str) -> bool:
    """Return whether a piece is a word with a sign, such as C++."""
    return any(map(_is_sign, piece)) and bool(_words(piece))


def _patterns(piece: str) -> list[re.Pattern[str]]:
    """Patterns for a folded piece: anywhere, or for words of scripts with spaces, where one begins.

    A word and its signs may have a space between them: 50 % is found by 50%.
    """
    words = _words(piece)
    if not words or _UNINDEXED.search(piece):
        return [re.compile(re.escape(piece))]
    if _is_signed(piece):
        return [_signed_pattern(piece)]
    return [re.compile(_BEGINNING + re.escape(word)) for word in words]


def _signed_pattern(piece: str) -> re.Pattern[str]:
    parts = re.findall(r"\w+|\W", piece)
    counts = [number for number, part in enumerate(parts) if _words(part) or _is_sign(part)]
    parts = parts[counts[0] : counts[-1] + 1]  # without punctuation around it
    return re.compile((_BEGINNING if _words(parts[0]) else "") + r"\s?".join(map(re.escape, parts)))


def _hits(db: Connection, source: _Source, query: Query) -> Iterator[tuple[str, int, bool]]:
    """Yield conversations, the numbers of rows, and whether the full-text index found all that is searched for."""
    if query.indexed and source.ranked:
        for number, conversation in db.execute(source.ranked, (query.indexed,)):
            if not query.has_signs or _holds(db, query, source, number):
                yield conversation, number, not query.has_signs
    for number, conversation, text in db.execute(source.everything if query.is_without_words else source.unindexed):
        if query.matches(text):
            yield conversation, number, False


def _holds(db: Connection, query: Query, source: _Source, number: int) -> bool:
    row = db.execute(source.result, (number,)).fetchone()
    return row is not None and query.matches(row["text"])


def _result(db: Connection, query: Query, source: _Source, number: int, is_indexed: bool) -> Found | None:
    row = db.execute(source.result, (number,)).fetchone()
    if row is None:  # the index of a damaged store knows a row that the table doesn't have
        return None
    if not is_indexed or _UNINDEXED.search(row["text"]):  # else all that a word is glued to would be marked
        return row, row["entry"], tuple(_around(row["text"], query))
    excerpt = db.execute(source.excerpt, (query.indexed, number)).fetchone()
    return row, row["entry"], tuple(_marked(excerpt[0] or "" if excerpt else ""))


def _marked(excerpt: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of an excerpt that SQLite made, and whether each is what was searched for."""
    at = 0
    excerpt = " ".join(excerpt.split())
    for match in _MARKED.finditer(excerpt):
        yield _shortened(excerpt[at : match.start()]), False
        yield _shortened(match[1]), True
        at = match.end()
    yield _shortened(excerpt[at:]), False


def _shortened(piece: str) -> str:
    """Cut the middle out of an endless piece, such as an address or a picture as text."""
    return piece if len(piece) <= 2 * END else piece[:END] + "…" + piece[-END:]


def _around(whole: str, query: Query) -> Iterator[tuple[str, bool]]:
    """Yield an excerpt of a text around the query's first piece."""
    whole = " ".join(whole.split())
    folded, origins = "", []
    for cluster in _CLUSTER.finditer(whole):
        piece = fold(cluster[0])
        folded += piece
        origins += [cluster.start()] * len(piece)
    match = query.patterns[0].search(folded)
    start, end = match.span() if match else (0, 0)
    origins.append(len(whole))
    first, last = origins[start], origins[end]
    begin = max(first - BEFORE, 0)
    yield ("…" if begin else "") + whole[begin:first], False
    yield _shortened(whole[first:last]), True
    yield whole[last : last + AFTER], False
