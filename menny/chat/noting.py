"""What a persona remembers of the user, in one chat: settled at its first reply there, and noted once it is quiet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from menny.chat.conversation import Chat, for_model
from menny.chat.facts import first_that_fit, note_facts
from menny.chat.prompt_builder import Usage
from menny.chat.settings import ReplySettings
from menny.engine_protocols import Engine
from menny.storage import Fact, Facts, MessageNode

FACTS, NOTED = "facts", "noted"  # in a chat's settings: facts by persona, and the id of the last message looked at
MOST_TOLD = 100  # facts that a chat keeps; which of them fit is the model's matter
LEAST_WORD = 3  # letters of a word that tells where a fact comes from


def settled_facts(settings: Mapping[str, Any], persona: str) -> tuple[str, ...] | None:
    """The facts that a chat's settings keep for a persona; None where they aren't settled, or can't be read."""
    kept = settings.get(FACTS)
    texts = kept.get(persona) if isinstance(kept, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    return tuple(texts[-MOST_TOLD:])


def facts_for(chat: Chat, persona: str, facts: Facts) -> tuple[str, ...]:
    """The facts that a persona knows in a chat: as settled there, else, before its first reply, all that it remembers.

    A chat that it has begun without facts stays without them, so that its prompt doesn't change. Raises StorageError.
    """
    settled = settled_facts(chat.settings, persona)
    if settled is not None:
        return settled
    has_answered = any(
        entry.role == "assistant" and entry.parent and entry.persona == persona for entry in chat.entries
    )
    return () if has_answered else tuple(fact.text for fact in facts.of(persona)[-MOST_TOLD:])


def settle_facts(chat: Chat, persona: str, facts: Facts) -> tuple[str, ...]:
    """Keep with a chat the facts that a persona knows in it, and return them; to be called before it replies."""
    known = facts_for(chat, persona, facts)
    if known and settled_facts(chat.settings, persona) is None:
        kept = chat.settings.get(FACTS)
        chat.set_settings(**{FACTS: {**(kept if isinstance(kept, dict) else {}), persona: list(known)}})
    return known


def note_chat(
    chat: Chat, persona: str, facts: Facts, engine: Engine, settings: ReplySettings, is_cancelled: Callable[[], bool]
) -> list[Fact]:
    """Let the model note the facts of a chat since it was noted last; returns the new facts.

    It is asked once, or more often where the new messages don't fit into one request; nothing is asked without new
    messages, and nothing is kept of a request that was cancelled. Raises MennyError.
    """
    added: list[Fact] = []
    while not chat.is_temporary and (new := new_entries(chat)) and new[-1].status != "growing":
        entries = for_model(new)
        if not any(entry.role == "user" for entry in entries):
            break
        known = facts.of(persona)
        seen = first_that_fit(engine, settings, entries, known, settings.user)
        texts = note_facts(engine, settings, seen, known, settings.user, is_cancelled)
        if is_cancelled():
            break
        for text in texts:
            added += facts.add(persona, [text], "model", chat.id, source_of(text, seen))
        chat.set_settings(**{NOTED: seen[-1].id})
    return added


def loses_unnoted(chat: Chat, usage: Usage | None) -> bool:
    """Return whether messages that nothing was noted from are no longer in the chat's prompt."""
    noted = len(chat.entries) - len(new_entries(chat))
    return usage is not None and usage.unseen > noted


def new_entries(chat: Chat) -> Sequence[MessageNode]:
    """The messages of a chat after the last that was looked at; all of them where that is on another branch."""
    entries, noted = chat.entries, chat.settings.get(NOTED)
    at = next((place + 1 for place, entry in enumerate(entries) if entry.id == noted), 0)
    return entries[at:]


def source_of(text: str, entries: Sequence[MessageNode]) -> str:
    """The id of the user's message that shares the most words with a fact, the latest of several."""
    asked = [entry for entry in entries if entry.role == "user"]
    words = _words(text)
    return max(reversed(asked), key=lambda entry: len(words & _words(entry.text))).id if asked else ""


def _words(text: str) -> set[str]:
    stripped = (word.strip(".,;:!?\"'“”‘’()").casefold() for word in text.split())
    return {word for word in stripped if len(word) >= LEAST_WORD}
