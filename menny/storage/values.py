"""The values that the store hands out: frozen, so that what a page draws is one moment of the conversation."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from menny.attachments import Attachment, framed, kept_attachments
from menny.engine_protocols import FinishReason
from menny.messages import Message, Role

Status = Literal["growing", "whole", "interrupted"]

ORIGINAL, EDITED = "original", "edited"  # in an edited reply's extra: its two texts


def new_id() -> str:
    """Return an id that nobody can guess: whoever knows it can open the chat."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class ReplyStats:
    """Measurements of a reply; `completion_tokens` are the answer's, without those of its thought."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    decode_tps: float = 0.0
    seconds_to_first_token: float = 0.0
    thought_tokens: int = 0
    thought_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MessageNode:
    """A message in the tree of a conversation, with its metadata.

    `thought` is a reasoning model's text before its answer. `alternatives` are the ids of all messages in its place,
    itself among them, oldest first. `extra` holds what other rooms keep beside a message (`ChatStore.set_metadata`),
    each under a key of its own.
    """

    id: str
    parent: str | None
    role: Role
    text: str
    status: Status = "whole"
    finish_reason: FinishReason | None = None
    error: str = ""
    persona: str = ""
    model: str = ""
    stats: ReplyStats = ReplyStats()
    created: float = 0.0
    alternatives: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    thought: str = ""

    @property
    def message(self) -> Message:
        """The message as the model gets it, with the text of its files."""
        return Message(self.role, framed(self.text, self.attachments), self.thought)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files of a question."""
        return kept_attachments(self.extra) if self.role == "user" else ()

    @property
    def other_text(self) -> str:
        """Of a reply that was edited: the text that isn't shown, the original or the edited one; "" of all others."""
        original, edited = self.extra.get(ORIGINAL), self.extra.get(EDITED)
        if not isinstance(original, str) or not isinstance(edited, str):
            return ""
        return edited if self.text == original else original

    @property
    def is_edited(self) -> bool:
        """Whether a reply's text is another than the one that was written."""
        return bool(self.other_text) and self.text != self.extra[ORIGINAL]

    @property
    def can_go_on(self) -> bool:
        """Whether it is a reply to something, which ended before its end."""
        is_cut = self.status == "interrupted" or bool(self.error) or self.finish_reason in ("length", "cancelled")
        return is_cut and self.parent is not None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as a list shows it; times are seconds since 1970.

    `settings` holds what was chosen for this chat (`ChatStore.set_settings`), each under a key of its own.
    """

    id: str
    title: str
    pinned: bool = False
    created: float = 0.0
    updated: float = 0.0
    deleted: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """The first message of a conversation, by a persona: the versions of it, and which of them is chosen."""

    texts: tuple[str, ...]
    chosen: int = 0
    persona: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole conversation: every entry after its parent, and the ids of those that are on the active path."""

    conversation: Conversation
    entries: tuple[MessageNode, ...]
    active: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A conversation that was found, by a message of it, or by its title where `entry` is None.

    `excerpt` is text in pieces, each marked as a match or not.
    """

    conversation: Conversation
    entry: str | None
    excerpt: tuple[tuple[str, bool], ...]
