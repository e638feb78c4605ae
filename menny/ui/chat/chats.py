"""The chats of this process: their store, the `Chat` objects that tabs share, and the replies under way."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

import streamlit as st

from menny.chat import Chat, Reply, ReplySettings
from menny.config.paths import home_error, remove_unfinished_files
from menny.errors import StorageError
from menny.models.loader import ModelSource
from menny.storage import ChatStore, store_file
from menny.ui.chat.quiet_job import Noting, QuietJob
from menny.ui.chat.remembering import remembers
from menny.ui.chat.reply_job import ReplyJob
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.shared_engine import shared_engine

TIDY_EVERY = 3600.0  # seconds
TRY_AGAIN = 5.0  # seconds until a store that couldn't be opened is tried again


class Chats:
    """A registry that gives two tabs on one chat the same `Chat`, and the same growing reply.

    Where the store can't be opened, `error` says why; chats live in memory until it can, and are then stored.
    """

    def __init__(self, file: Path) -> None:
        self._error = ""
        self._file = file
        self._store: ChatStore | None = None
        self._next_try = 0.0
        self._tidied: int | None = None
        self._next_tidying = 0.0
        self._open: WeakValueDictionary[str, Chat] = WeakValueDictionary()
        self._jobs: dict[str, ReplyJob] = {}
        self._unnoted: dict[str, Noting] = {}
        self._quiet: QuietJob | None = None
        self.guard = threading.RLock()

    @property
    def store(self) -> ChatStore | None:
        """The store, opened at its first use; None while it can't be."""
        with self.guard:
            if self._store is None and time.monotonic() >= self._next_try:
                try:
                    self._store, self._error = ChatStore(self._file), ""
                except StorageError as error:
                    self._error = f"Chats aren't being saved at the moment. {home_error() or error}"
                    self._next_try = time.monotonic() + TRY_AGAIN
                else:
                    for chat in list(self._open.values()):
                        chat.keep_in(self._store)
            return self._store

    @property
    def error(self) -> str:
        """Why the store can't be opened at the moment; empty where it is open."""
        return "" if self.store else self._error

    def new(self, *, is_temporary: bool = False) -> Chat:
        """Return a new, empty chat; a temporary one is never stored."""
        with self.guard:
            chat = Chat(self.store, is_temporary=is_temporary)
            self._open[chat.id] = chat
            return chat

    def find(self, chat_id: str) -> Chat | None:
        """Return the chat of that id; None if it is unknown or deleted."""
        with self.guard:
            chat = self._open.get(chat_id)
            if chat is None:
                found = self.store.conversation(chat_id) if self.store else None
                if found is None or found.deleted:
                    return None
                chat = self._open[chat_id] = Chat(self.store, chat_id)
            return chat

    def revision(self, chat_id: str) -> tuple[int, int]:
        """Return two counts of changes: of a chat (-1 where it isn't kept), and of the list."""
        with self.guard:
            chat = self._open.get(chat_id)
        if chat is not None:
            return chat.revision
        try:
            return self.store.revision(chat_id) if self.store else (-1, -1)
        except StorageError:
            return (-1, -1)

    def tidy(self, days: int | None) -> None:
        """Put chats that nobody touched for `days` into the bin, but for open ones; looked for every hour."""
        with self.guard:
            if days is None or self.store is None or (days == self._tidied and time.monotonic() < self._next_tidying):
                return
            self._tidied, self._next_tidying = days, time.monotonic() + TIDY_EVERY
            self.store.delete_untouched(days, keep=list(self._open))

    def untouched(self, days: int) -> int:
        """Return how many chats `tidy` would put into the bin; 0 where the store can't be read."""
        with self.guard, suppress(StorageError):
            return self.store.untouched(days, keep=list(self._open)) if self.store else 0
        return 0

    def job_of(self, chat_id: str) -> ReplyJob | None:
        """Return the reply under way in a chat, if there is one."""
        with self.guard:
            job = self._jobs.get(chat_id)
            if job is not None and job.is_over:
                del self._jobs[chat_id]
                return None
            return job

    def abandon(self, chat_id: str) -> None:
        """Cancel the reply under way in a chat, if there is one; the chat takes the next message at once."""
        with self.guard:
            job = self._jobs.pop(chat_id, None)
        if job is not None:
            job.cancel()

    def answer(
        self, chat: Chat, reply: Reply, model_name: str, source: ModelSource, settings: ReplySettings, persona: str = ""
    ) -> ReplyJob:
        """Start a job that writes the reply, by that persona, and return it; what was done in the quiet ends."""
        with self.guard:
            if self._quiet:
                self._quiet.drop()
            job = self._jobs[chat.id] = ReplyJob(chat, reply, model_name, source, settings, shared_engine())
            if remembers(persona) and not chat.is_temporary:
                self._unnoted[chat.id] = Noting(chat, persona, source, settings)
            titled = (source, settings) if shared_settings().now.titles else None
            self._quiet = QuietJob(job, titled, self._unnoted, self.store, shared_engine())
        job.start()
        self._quiet.start()
        return job


def shared_chats() -> Chats:
    """Return the registry of this process, for the user's store."""
    return _chats(store_file())


@st.cache_resource(show_spinner=False)
def _chats(file: Path) -> Chats:
    remove_unfinished_files()
    return Chats(file)
