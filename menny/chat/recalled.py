"""Memory by retrieval: earlier messages that bear on a question, put before it in its turn."""

from collections.abc import Collection, Sequence

from menny.chat.turn_context import ContextPiece
from menny.chat.withheld import is_withheld
from menny.engine_protocols import Tokenizer
from menny.storage import ChatStore, MessageNode
from menny.text import excerpt

SHARE = 10  # at most a tenth of the context goes to what is recalled
MOST_MESSAGES = 5
MOST_CHARACTERS = 600  # of a message; its beginning


def recall_pieces(
    store: ChatStore,
    chat_id: str,
    path: Sequence[MessageNode],
    unseen: int,
    persona: str,
    tokenizer: Tokenizer,
    budget: int,
    there: Collection[tuple[str, str]],
) -> list[ContextPiece]:
    """Find messages for the question that ends a path: among the first `unseen` of the path, which the model no longer
    sees, and with a persona's id in its other chats too.

    They take at most `budget` tokens and stand in the order in which they were written. What stands in a turn that is
    seen (`there`) isn't put before another one.
    """
    among = [entry.id for entry in path[:unseen]]
    if not (among or persona) or budget <= 0:
        return []
    found = store.recall(path[-1].text, chat_id, among, persona, limit=2 * MOST_MESSAGES)
    chosen: list[tuple[float, ContextPiece]] = []
    for entry in found:
        piece = ContextPiece("memory", _quoted(entry), digest=entry.id)
        tokens = len(tokenizer.encode(f"{piece.text}\n\n"))
        if entry.text and not is_withheld(entry) and (piece.source, piece.digest) not in there and tokens <= budget:
            budget -= tokens
            chosen.append((entry.created, piece))
    return [piece for _, piece in sorted(chosen[:MOST_MESSAGES], key=lambda item: item[0])]


def _quoted(entry: MessageNode) -> str:
    """A message in one paragraph, by who said it."""
    cut = excerpt(" ".join(entry.text.split()), MOST_CHARACTERS)
    return f"{'The user said' if entry.role == 'user' else 'You said'}: {cut}"
