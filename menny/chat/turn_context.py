"""What a turn brings beside its message: pieces of text put before a question where it was asked, and kept there.

A prompt only grows: what is called up for a question stands in that question's turn for ever, so that the model reads
it once. It is kept in the question's `extra`, is part of an export, and is shown under the message.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from menny.messages import Message
from menny.storage import MessageNode
from menny.text import sanitize

CONTEXT_KEY = "context"  # in a question's extra
Kind = Literal["lore", "memory", "note"]
HEADINGS: Mapping[Kind, str] = {"lore": "Background", "memory": "From earlier", "note": "Note"}
MOST_PIECES = 2_000
MOST_CHARACTERS = 200_000  # of a piece


@dataclass(frozen=True, slots=True)
class ContextPiece:
    """A text that stands before a question: what kind it is, its title, and why it is there.

    `source` is where it comes from, such as the id of a lorebook, and `digest` tells its original text apart from
    others of that source. `key` and `called_by` are those of a lorebook's entry.
    """

    kind: Kind
    text: str
    name: str = ""
    source: str = ""
    digest: str = ""
    key: str = ""
    called_by: str = ""


@dataclass(frozen=True, slots=True)
class TurnContext:
    """The pieces of a turn in the order of the text; for the reader, what didn't fit and which keys were stopped.

    `untried` is the number of keys that weren't looked for, as the time for regular expressions was used up.
    """

    pieces: tuple[ContextPiece, ...] = ()
    over_budget: tuple[str, ...] = ()  # titles
    slow_keys: tuple[str, ...] = ()
    untried: int = 0

    def __bool__(self) -> bool:
        return bool(self.pieces or self.over_budget or self.slow_keys or self.untried)

    @classmethod
    def read(cls, extra: Mapping[str, Any]) -> "TurnContext":
        """Read what is kept beside a message, by us or by a file of anybody's; what can't be read is left out."""
        kept = extra.get(CONTEXT_KEY)
        if not isinstance(kept, dict):
            return cls()
        listed = kept.get("pieces")
        found = [_piece(one) for one in listed[:MOST_PIECES]] if isinstance(listed, list) else []
        pieces, untried = tuple(one for one in found if one), kept.get("untried")
        over_budget, slow_keys = _texts(kept.get("over_budget")), _texts(kept.get("slow_keys"))
        return cls(pieces, over_budget, slow_keys, max(0, untried) if type(untried) is int else 0)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept beside a message, as short as it can be."""
        pieces = [{key: value for key, value in asdict(piece).items() if value} for piece in self.pieces]
        over_budget, slow_keys = list(self.over_budget[:MOST_PIECES]), list(self.slow_keys)
        whole = {"pieces": pieces, "over_budget": over_budget, "slow_keys": slow_keys, "untried": self.untried}
        return {key: value for key, value in whole.items() if value}

    def before(self, question: str) -> str:
        """The question as the model gets it, after the pieces of each kind in brackets."""
        blocks = [
            f"[{heading}:\n" + "\n\n".join(texts) + "]"
            for kind, heading in HEADINGS.items()
            if (texts := [piece.text for piece in self.pieces if piece.kind == kind])
        ]
        return "\n\n".join([*blocks, question])


def message_in_turn(entry: MessageNode) -> Message:
    """A message as the model gets it, with what its turn brought."""
    message = entry.message
    if entry.role != "user" or not (context := TurnContext.read(entry.extra)).pieces:
        return message
    return Message("user", context.before(message.content))


def pieces_in(entries: Iterable[MessageNode]) -> set[tuple[str, str]]:
    """The source and digest of every piece in these turns."""
    return {(piece.source, piece.digest) for entry in entries for piece in TurnContext.read(entry.extra).pieces}


def _piece(kept: object) -> ContextPiece | None:
    if not isinstance(kept, dict) or kept.get("kind") not in get_args(Kind) or not isinstance(kept.get("text"), str):
        return None
    others = ("name", "source", "digest", "key", "called_by")
    named = {name: sanitize(value)[:1000] for name in others if isinstance(value := kept.get(name), str)}
    return ContextPiece(kept["kind"], sanitize(kept["text"][:MOST_CHARACTERS]), **named)


def _texts(kept: object) -> tuple[str, ...]:
    listed: Sequence[Any] = kept[:MOST_PIECES] if isinstance(kept, list) else ()
    return tuple(sanitize(one)[:1000] for one in listed if isinstance(one, str))
