"""The messages of a chat that aren't sent yet: they wait for a reply to end, or were refused and wait for a change.

They are kept with the chat's settings, so that a reload or a crash loses none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from menny.attachments import ATTACHMENTS_KEY, Attachment, kept_attachments
from menny.chat import Chat
from menny.storage import new_id

UNSENT = "unsent"  # their key among a chat's settings


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message; one that is held waits for its author, all others for the reply under way."""

    text: str
    attachments: tuple[Attachment, ...] = ()
    is_held: bool = False
    id: str = ""


def unsent_of(chat: Chat) -> list[Unsent]:
    """Return a chat's messages that aren't sent yet, the next one first."""
    kept = chat.settings.get(UNSENT)
    found = [_read(one) for one in kept] if isinstance(kept, list) else []
    return [one for one in found if one]


def add_unsent(chat: Chat, message: Unsent, *, first: bool = False) -> Unsent:
    """Add a message at the end, or as the first; return it with its id."""
    added = replace(message, id=new_id())
    others = unsent_of(chat)
    _keep(chat, [added, *others] if first else [*others, added])
    return added


def put_unsent(chat: Chat, message: Unsent, place: int) -> None:
    """Put a message back in its place, after it was removed."""
    others = unsent_of(chat)
    _keep(chat, [*others[:place], message, *others[place:]])


def change_unsent(chat: Chat, changed: Unsent) -> None:
    """Replace the message of that id."""
    _keep(chat, [changed if one.id == changed.id else one for one in unsent_of(chat)])


def remove_unsent(chat: Chat, message_id: str) -> None:
    """Remove a message."""
    _keep(chat, [one for one in unsent_of(chat) if one.id != message_id])


def hold_unsent(chat: Chat) -> None:
    """Hold all messages: none is sent before its author says so."""
    waiting = unsent_of(chat)
    if not all(one.is_held for one in waiting):
        _keep(chat, [replace(one, is_held=True) for one in waiting])


def _keep(chat: Chat, messages: Sequence[Unsent]) -> None:
    kept = [
        {
            "id": one.id,
            "text": one.text,
            "is_held": one.is_held,
            ATTACHMENTS_KEY: [attachment.to_dict() for attachment in one.attachments],
        }
        for one in messages
    ]
    chat.set_settings(**{UNSENT: kept or None})


def _read(kept: object) -> Unsent | None:
    """Read what was kept, by us or in a file of anybody's."""
    if not isinstance(kept, dict) or not isinstance(kept.get("text"), str) or not isinstance(kept.get("id"), str):
        return None
    return Unsent(kept["text"], kept_attachments(kept), bool(kept.get("is_held")), kept["id"])
