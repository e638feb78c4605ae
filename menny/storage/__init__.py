"""What is kept: conversations in SQLite, as trees of messages, and their way in and out as files."""

from menny.storage.store import ChatStore
from menny.storage.values import Conversation, Entry, Figures, Hit, Transcript, new_id

__all__ = ["ChatStore", "Conversation", "Entry", "Figures", "Hit", "Transcript", "new_id"]
