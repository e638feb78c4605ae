"""A note for a chat: a text of the user's that is put before a question in its turn, and again every few turns."""

import hashlib
from collections.abc import Callable, Sequence

from menny.chat.turn_context import ContextPiece, TurnContext
from menny.storage import MessageNode

DEPTH, MOST_DEPTH = 4, 100  # turns after which a note is sent again
LONGEST = 2_000  # characters


def note_piece(note: str, depth: int, before: Sequence[MessageNode], fill: Callable[[str], str]) -> ContextPiece | None:
    """The note as a piece of the next question's turn; None where an earlier turn has it, at most `depth` turns back.

    `before` are the messages that the model sees of the chat. A note that was changed is sent at once; what stands in
    an earlier turn stays there, as a prompt only grows.
    """
    text = note.strip()[:LONGEST]
    if not text:
        return None
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    questions = [entry for entry in before if entry.role == "user"]
    for back, entry in enumerate(reversed(questions), start=1):
        notes = [piece for piece in TurnContext.read(entry.extra).pieces if piece.kind == "note"]
        if notes:
            return None if notes[-1].digest == digest and back <= depth else _piece(text, digest, fill)
    return _piece(text, digest, fill)


def _piece(text: str, digest: str, fill: Callable[[str], str]) -> ContextPiece:
    return ContextPiece("note", fill(text), digest=digest)
