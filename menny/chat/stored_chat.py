"""The messages of a chat in their store, or in memory while the store can't be written."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from menny.errors import PromptError, StorageError
from menny.storage import ChatStore, Conversation, MessageNode, Opening, Transcript, UnkeptError, new_id
from menny.text import is_blank, sanitize

UNREADABLE = (-2, -2)  # the revision of a chat that can't be read
READ_AGAIN = 2.0  # seconds until a store that couldn't be read is tried again: a locked one keeps callers waiting

T = TypeVar("T")


class StoredChat:
    """The tree of a chat's messages, and what was chosen for it.

    It is kept in a store, under its id, from its first message on; without a store, in memory. While the store can't
    be written it goes on in memory as well, and `unkept` holds the error. While the store can't be read, the messages
    that were read last stand for it, and `unread` holds the error.

    A temporary chat is in memory only, whatever store there is, until `keep_for_good`.
    """

    def __init__(self, store: ChatStore | None = None, chat_id: str = "", *, is_temporary: bool = False) -> None:
        self.is_temporary = is_temporary
        store = None if is_temporary else store
        self.id = chat_id or new_id()
        self.opened = time.time()
        self.unkept = self.unread = ""
        self._read_again = 0.0
        self._new_settings: dict[str, Any] = {}  # of a chat without a message, which isn't stored yet
        self._opening: Opening | None = None  # likewise
        self._home = store
        self._store = store or ChatStore()
        self._seen: tuple[int | None, Sequence[MessageNode]] = (None, ())

    @property
    def is_on_disk(self) -> bool:
        """True if the chat is kept in a file, and so may be what an engine keeps of it."""
        return self._store is self._home and self._store.is_on_disk

    @property
    def entries(self) -> Sequence[MessageNode]:
        """The active path, from the first message to the last."""
        revision, _ = self.revision
        if revision not in (self._seen[0], UNREADABLE[0]):
            self._seen = self._read(lambda store: (revision, store.path(self.id)), self._seen)
        return self._seen[1]

    @property
    def revision(self) -> tuple[int, int]:
        """Two numbers: the first changes with this chat, the second with the list of chats."""
        return self._read(lambda store: store.revision(self.id), UNREADABLE)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was chosen for this chat, by key: values that JSON can hold."""
        conversation = self._read(lambda store: store.conversation(self.id), None)
        return conversation.settings if conversation else self._new_settings

    @property
    def is_deleted(self) -> bool:
        """True where the chat is in the bin, or gone."""
        conversation = self._read(lambda store: store.conversation(self.id), None)
        return conversation is None or conversation.deleted is not None

    def set_settings(self, **settings: Any) -> None:
        """Set values of the chat's settings; None removes one. A chat without a message keeps them for its first."""
        kept = {**self._new_settings, **settings}
        self._new_settings = {key: value for key, value in kept.items() if value is not None}
        self._keep(lambda store: store.set_settings(self.id, **settings))

    def prepare(self, **settings: Any) -> None:
        """Set values of the settings that a chat without a message is stored with."""
        self._new_settings |= settings

    def begin_with(self, opening: Opening | None) -> None:
        """Let a persona say the first message: it is stored with the user's first one. None: the user begins."""
        self._opening = opening

    def choose(self, entry_id: str) -> None:
        """Switch to another alternative."""
        self._keep(lambda store: store.choose(entry_id))

    def is_within(self, entry_id: str, branch_id: str) -> bool:
        """True if a message is `branch_id` or follows it, and so is deleted with it."""
        unknown: list[MessageNode] = []
        return any(entry.id == branch_id for entry in self._read(lambda store: store.path_to(entry_id), unknown))

    def rewrite(self, reply_id: str, text: str) -> None:
        """Replace a reply's text and keep the original beside it; summaries of the old text are forgotten."""
        cleaned = sanitize(text)
        if is_blank(cleaned):
            raise PromptError("There is nothing left of this reply: type a text, or delete the reply.")
        self._keep(lambda store: store.rewrite(reply_id, cleaned))
        ids = [entry.id for entry in self.entries]
        for entry in self.entries[ids.index(reply_id) :] if reply_id in ids else ():
            if "summary" in entry.extra:
                self._keep(partial(_forget_summary, entry_id=entry.id))

    def delete(self, entry_id: str) -> None:
        """Delete a message and all that follow it."""
        self._keep(lambda store: store.delete_branch(entry_id))

    def restore(self, entry_id: str) -> None:
        """Restore a deleted message, and those that were deleted with it."""
        self._keep(lambda store: store.restore_branch(entry_id))

    def keep_in(self, store: ChatStore) -> None:
        """Keep the chat in a store that wasn't available before; a temporary one stays in memory."""
        if not self.is_temporary:
            self._home = self._home or store
            self._return_home()

    def keep_for_good(self, store: ChatStore) -> None:
        """Make a lasting chat of a temporary one."""
        self.is_temporary = False
        self.keep_in(store)

    @property
    def title(self) -> str:
        """The chat's title; empty before its first message."""
        conversation = self._read(lambda store: store.conversation(self.id), None)
        return conversation.title if conversation else ""

    def retitle(self, title: str, before: str) -> None:
        """Give the chat another title in the place of `before`, if nobody has changed that."""
        self._keep(lambda store: store.retitle(self.id, title, before))

    def copy(self, entry_id: str) -> str:
        """Copy the chat up to a message into a new one; returns its id. UnkeptError where that can't be stored."""
        self._return_home()
        if self._home is None or self._store is not self._home:
            raise UnkeptError(self.unkept or "This chat isn't being saved at the moment, so it can't be copied.")
        return self._home.copy(entry_id)

    def transcript(self) -> Transcript:
        """All messages, with their alternatives."""
        return self._store.transcript(self.id)

    def _read(self, read: Callable[[ChatStore], T], otherwise: T) -> T:
        """Read something from the store; where that fails, return `otherwise` and set `unread`."""
        if time.monotonic() < self._read_again:
            return otherwise
        try:
            value, self.unread = read(self._store), ""
        except UnkeptError as error:
            value, self.unread = otherwise, str(error)
            self._read_again = time.monotonic() + READ_AGAIN
        return value

    def _keep(self, change: Callable[[ChatStore], T]) -> T:
        """Change the conversation in its store; where that fails, go on in memory."""
        try:
            return change(self._store)
        except UnkeptError as error:
            if self._store is not self._home:
                raise
            self._leave_home(str(error))
            return change(self._store)

    def _leave_home(self, reason: str) -> None:
        in_memory = ChatStore()
        try:
            in_memory.merge([self._store.transcript(self.id)])
        except StorageError:  # there is no message yet, or it can't be read either
            if entries := tuple(self._seen[1]):
                conversation = Conversation(self.id, entries[0].text[:60])
                alone = tuple(replace(entry, alternatives=()) for entry in entries)
                in_memory.merge([Transcript(conversation, alone, tuple(entry.id for entry in alone))])
        self._store, self._seen, self._read_again = in_memory, (None, self._seen[1]), 0.0
        self.unkept = f"This chat isn't being saved at the moment. {reason}"

    def _return_home(self) -> None:
        """Try to store the chat again."""
        if self._home is None or self._store is self._home:
            return
        try:
            if self._store.conversation(self.id):
                self._home.merge([self._store.transcript(self.id)])
        except UnkeptError:
            return
        self._store, self._seen, self.unkept = self._home, (None, ()), ""


def _forget_summary(store: ChatStore, entry_id: str) -> None:
    store.set_metadata(entry_id, summary=None)
