"""ChatReader: what can be read of the conversations in a store.

A message's children are alternatives: several questions where one was edited, several replies where one was
regenerated. One of them is chosen; following the chosen ones from the start gives the active path, which is the
conversation as it is shown and as the model gets it.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from sqlite3 import Row

from menny.errors import StorageError
from menny.storage.database import Database
from menny.storage.recall import recall
from menny.storage.rows import as_conversation, as_entry, message_row, untouched_since, walk
from menny.storage.search import search
from menny.storage.upkeep import DAY
from menny.storage.values import Conversation, MessageNode, SearchResult, Transcript
from menny.storage.writers import Writers

FOLDER = "CASE WHEN json_valid(settings) THEN json_extract(settings, '$.folder') END"
LISTED = f"""SELECT * FROM conversations WHERE deleted IS NULL
    AND (:persona = '' OR EXISTS (SELECT 1 FROM messages
        WHERE conversation = conversations.id AND persona = :persona AND messages.deleted IS NULL))
    AND (:folder = '' OR {FOLDER} = :folder)
    ORDER BY pinned DESC, updated DESC LIMIT :limit"""  # noqa: S608 - both are ours


class ChatReader:
    """The reading half of a ChatStore: every method is one moment of the store. All raise StorageError."""

    _database: Database
    _writers: Writers

    @property
    def is_on_disk(self) -> bool:
        """True if it is a file; False for a store in memory."""
        return self._database.path is not None

    def conversations(self, limit: int = -1, persona: str = "", folder: str = "") -> list[Conversation]:
        """Return the conversations that aren't deleted: the pinned ones first, then the latest.

        With a persona's id, those in which it has replied; with a folder, those in it.
        """
        with self._database.read() as db:
            rows = db.execute(LISTED, {"persona": persona, "folder": folder, "limit": limit}).fetchall()
        return [as_conversation(row) for row in rows]

    def folders(self) -> list[str]:
        """Return the names of the folders that hold conversations, in alphabetical order."""
        with self._database.read() as db:
            rows = db.execute(f"SELECT DISTINCT {FOLDER} FROM conversations WHERE deleted IS NULL").fetchall()  # noqa: S608
        return sorted((row[0] for row in rows if isinstance(row[0], str) and row[0]), key=str.casefold)

    def untouched(self, days: int, keep: Collection[str] = ()) -> int:
        """Return how many conversations `ChatStore.delete_untouched` would delete."""
        with self._database.read() as db:
            return len(untouched_since(db, time.time() - days * DAY, keep))

    def deleted_conversations(self) -> list[Conversation]:
        """Return the conversations in the bin, the latest deletion first."""
        with self._database.read() as db:
            rows = db.execute("SELECT * FROM conversations WHERE deleted IS NOT NULL ORDER BY deleted DESC").fetchall()
        return [as_conversation(row) for row in rows]

    def conversation(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, also a deleted one that can still be brought back; None for an unknown id."""
        with self._database.read() as db:
            row = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
        return as_conversation(row) if row else None

    def transcripts(self) -> Iterator[Transcript]:
        """Yield all conversations that aren't deleted, whole, one at a time."""
        return (self.transcript(conversation.id) for conversation in self.conversations())

    def path(self, conversation_id: str) -> list[MessageNode]:
        """Return the active path, from the first message to the last; empty if there is no such conversation."""
        transcript = self._read(conversation_id)
        entries = {entry.id: entry for entry in transcript.entries} if transcript else {}
        return [entries[entry_id] for entry_id in transcript.active] if transcript else []

    def path_to(self, entry_id: str) -> list[MessageNode]:
        """Return the messages from the first to this one. Raises StorageError for an unknown id."""
        entries = {entry.id: entry for entry in self.transcript(self._conversation_of(entry_id)).entries}
        way: list[MessageNode] = []
        at: str | None = entry_id
        while at in entries:
            way.append(entries[at])
            at = entries[at].parent
        return way[::-1]

    def transcript(self, conversation_id: str) -> Transcript:
        """Return a conversation with all its alternatives. Raises StorageError for an unknown id."""
        transcript = self._read(conversation_id)
        if transcript is None:
            raise StorageError("This chat isn't here any more.")
        return transcript

    def entry(self, entry_id: str) -> MessageNode:
        """Return a message. Raises StorageError for an unknown id."""
        with self._database.read() as db:
            row = message_row(db, entry_id)
            siblings = db.execute(
                "SELECT id FROM messages WHERE conversation = ? AND parent IS ? AND deleted IS NULL ORDER BY number",
                (row["conversation"], row["parent"]),
            ).fetchall()
        return self._entry(row, [sibling["id"] for sibling in siblings])

    def revision(self, conversation_id: str) -> tuple[int, int]:
        """Return two counts of changes: in that conversation (-1 for an unknown one), and in the list."""
        with self._database.read() as db:
            row = db.execute("SELECT revision FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
            listed = db.execute("SELECT value FROM counters WHERE name = 'list'").fetchone()
        return (int(row[0]) if row else -1, int(listed[0]))

    def search(self, text: str, limit: int = 30, in_thoughts: bool = False) -> list[SearchResult]:
        """Return the conversations whose title, or a message, holds all words of a text, or words that begin so.

        `in_thoughts`: also those where a thought before a reply does.
        """
        with self._database.read() as db:
            return [
                SearchResult(as_conversation(row), entry, excerpt)
                for row, entry, excerpt in search(db, text, limit, in_thoughts)
            ]

    def recall(
        self, question: str, chat_id: str, among: Collection[str], persona: str = "", limit: int = 5
    ) -> list[MessageNode]:
        """Return the messages that bear on a question, the best first: see `menny.storage.recall`."""
        with self._database.read() as db:
            rows = recall(db, question, chat_id, among, persona, limit)
        return [as_entry(row, (), False) for row in rows]

    def _conversation_of(self, entry_id: str) -> str:
        with self._database.read() as db:
            return str(message_row(db, entry_id)["conversation"])

    def _read(self, conversation_id: str) -> Transcript | None:
        with self._database.read() as db:
            rows = db.execute(
                "SELECT * FROM messages WHERE conversation = ? AND deleted IS NULL ORDER BY number", (conversation_id,)
            ).fetchall()
            head = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
        if head is None:
            return None
        children: dict[str | None, list[Row]] = defaultdict(list)
        for row in rows:
            children[row["parent"]].append(row)
        entries = [self._entry(row, [sibling["id"] for sibling in children[row["parent"]]]) for row in rows]
        return Transcript(as_conversation(head), tuple(entries), tuple(walk(head["chosen"], children)))

    def _entry(self, row: Row, alternatives: Sequence[str]) -> MessageNode:
        is_orphan = row["status"] == "growing" and not self._writers.is_alive(row["writer"])
        return as_entry(row, alternatives, is_orphan)
