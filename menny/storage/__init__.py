"""Conversations kept in SQLite as trees of messages, with their export and import as files."""

from menny.storage.copying import COPIED_FROM
from menny.storage.errors import UnkeptError
from menny.storage.facts import Fact, Facts
from menny.storage.formats.archive import pack, unpack
from menny.storage.formats.facts import facts_as_files, facts_of_files
from menny.storage.formats.json import as_json
from menny.storage.formats.markdown import as_markdown
from menny.storage.rows import title_given, title_of
from menny.storage.store import ChatStore, store_file
from menny.storage.values import Conversation, MessageNode, Opening, ReplyStats, SearchResult, Transcript, new_id

__all__ = [
    "COPIED_FROM",
    "ChatStore",
    "Conversation",
    "Fact",
    "Facts",
    "MessageNode",
    "Opening",
    "ReplyStats",
    "SearchResult",
    "Transcript",
    "UnkeptError",
    "as_json",
    "as_markdown",
    "facts_as_files",
    "facts_of_files",
    "new_id",
    "pack",
    "store_file",
    "title_given",
    "title_of",
    "unpack",
]
