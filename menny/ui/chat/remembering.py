"""Personas that remember the user across chats: the facts that a chat begins with, and those noted from a message."""

from contextlib import suppress
from dataclasses import replace

from menny.chat import Chat, Reply, ReplySettings
from menny.chat.facts import asked_to_remember
from menny.chat.noting import facts_for, settle_facts
from menny.errors import StorageError
from menny.storage import ChatStore
from menny.ui.shared.app_settings import shared_settings


def remembers(persona: str) -> bool:
    """Return whether a persona remembers what the user tells it across chats."""
    return persona in shared_settings().now.remembering


def facts_told(store: ChatStore | None, chat: Chat, persona: str) -> tuple[str, ...]:
    """Return the facts that a persona knows in a chat; none in a temporary one, or where it isn't to remember."""
    with suppress(StorageError):  # the page tells of a store that can't be read; the chat goes on
        if store and remembers(persona) and not chat.is_temporary:
            return facts_for(chat, persona, store.facts)
    return ()


def telling(store: ChatStore | None, chat: Chat, persona: str, settings: ReplySettings) -> ReplySettings:
    """Return the settings of a reply with the facts that the persona knows, kept with the chat from now on."""
    with suppress(StorageError):
        if store and remembers(persona) and not chat.is_temporary:
            return replace(settings, facts=settle_facts(chat, persona, store.facts))
    return settings


def note_asked(store: ChatStore | None, chat: Chat, persona: str, reply: Reply) -> None:
    """Note what a message asks to remember, as it stands. Raises StorageError."""
    fact = asked_to_remember(reply.typed)
    if fact and store and remembers(persona) and not chat.is_temporary:
        store.facts.add(persona, [fact], chat=chat.id, message=reply.new)


def forget_refused(store: ChatStore | None, reply: Reply) -> None:
    """Forget what was noted from a message that was refused, and so left its chat. Raises StorageError."""
    if store and reply.new and asked_to_remember(reply.typed):
        store.facts.forget_of(reply.new)
