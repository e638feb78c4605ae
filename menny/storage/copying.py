"""Copying a conversation up to one of its messages: another that goes on from there, linked back to the first."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from menny.storage.values import Conversation, MessageNode, Transcript, new_id

COPIED_FROM = "copied_from"  # the key in the copy's settings: {"chat": id, "message": id}
COPY = " (copy)"
LONGEST_TITLE = 200


def copy_until(transcript: Transcript, entry_id: str) -> Transcript:
    """The messages from the first to this one, each with its alternatives, under ids of their own."""
    by_id = {entry.id: entry for entry in transcript.entries}
    path: list[MessageNode] = []
    at: str | None = entry_id
    while at is not None and at in by_id:
        path.append(by_id[at])
        at = by_id[at].parent
    parents = {entry.parent for entry in path}
    kept = [entry for entry in transcript.entries if entry.parent in parents]
    ids = {entry.id: new_id() for entry in kept}
    entries = tuple(
        replace(
            entry,
            id=ids[entry.id],
            parent=ids.get(entry.parent or ""),
            alternatives=(),
            extra=_renamed(entry.extra, ids),
        )
        for entry in kept
    )
    now, source = time.time(), transcript.conversation
    title = source.title.removesuffix(COPY)[: LONGEST_TITLE - len(COPY)] + COPY
    last = dict.fromkeys(_following(transcript, entry_id), ids.get(entry_id, ""))  # stands for those after it
    settings = {**_renamed(source.settings, last | ids), COPIED_FROM: {"chat": source.id, "message": entry_id}}
    conversation = Conversation(new_id(), title, created=now, updated=now, settings=settings)
    return Transcript(conversation, entries, tuple(ids[entry.id] for entry in reversed(path)))


def _following(transcript: Transcript, entry_id: str) -> set[str]:
    """The ids of the messages after one, on all branches."""
    found: set[str] = set()
    for entry in transcript.entries:
        if entry.parent == entry_id or entry.parent in found:
            found.add(entry.id)
    return found


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    """A value of JSON in which a message is named by its id, with the copy's ids in place of these."""
    if isinstance(value, Mapping):
        return {key: _renamed(inner, ids) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(inner, ids) for inner in value]
    return ids.get(value, value) if isinstance(value, str) else value
