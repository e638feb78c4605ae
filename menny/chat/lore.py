"""Lore in a chat: what the last messages call up stands in the question's turn, constant entries in the system text."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from menny.chat.turn_context import ContextPiece, TurnContext, pieces_in
from menny.lorebooks import DEFAULT_BUDGET, Activation, Lorebook, LoreEntry, ScanResult, scan
from menny.lorebooks.keys import Fill
from menny.lorebooks.scan import Count, title_of
from menny.messages import Message
from menny.storage import MessageNode

if TYPE_CHECKING:
    from menny.chat.settings import Instructions


BLANK_LINE = "\n\n"  # between entries


def as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Lore:
    """The lorebooks of a chat, by their ids.

    `fill` expands the macros of a text; `budget` is the share of the context that lore may take, in percent.
    """

    books: Mapping[str, Lorebook] = field(default_factory=dict)
    fill: Fill = as_it_is
    budget: float = DEFAULT_BUDGET

    def tokens(self, context_length: int) -> int:
        """The budget in tokens."""
        return int(context_length * self.budget / 100)


def with_constants(
    instructions: "Instructions", lore: Lore, chat_id: str, count: Count, context_length: int
) -> "Instructions":
    """The instructions with the constant entries after the persona's text: the same for as long as the chat lives."""
    constant = {
        name: book.model_copy(update={"entries": tuple(entry for entry in book.entries if entry.is_always_there)})
        for name, book in lore.books.items()
    }
    if not any(book.entries for book in constant.values()):
        return instructions
    found = _scan(replace(lore, books=constant), chat_id, "", [], count, lore.tokens(context_length)).constant
    return instructions.adding("lore", BLANK_LINE.join(one.text for one in found))


def call_up(
    lore: Lore, chat_id: str, path: Sequence[MessageNode], count: Count, budget: int, unseen: int = 0
) -> TurnContext:
    """Find what the question that ends a path brings into its turn, of at most `budget` tokens with what is constant.

    What stands in an earlier turn already isn't put there again, unless that turn is one of the first `unseen`, which
    the model no longer sees, or the entry was changed. A draw depends on the chat, the question and the entry only, so
    the same question calls up the same entries.
    """
    result = _scan(lore, chat_id, path[-1].id, [entry.message for entry in path], count, budget)
    there = pieces_in(path[unseen:-1])
    pieces = [_piece_of(one) for one in result.called]
    return TurnContext(
        tuple(piece for piece in pieces if (piece.source, piece.digest) not in there),
        tuple(title_of(one.entry) for one in result.over_budget if not one.entry.is_always_there),
        result.slow_keys,
        len(result.untried_keys),
    )


def _scan(
    lore: Lore, chat_id: str, question_id: str, messages: Sequence[Message], count: Count, budget: int
) -> ScanResult:
    names = {"user": lore.fill("{{user}}"), "assistant": lore.fill("{{char}}")}

    def draw(entry: LoreEntry) -> float:
        place = chat_id if entry.is_always_there else f"{chat_id}\0{question_id}"
        return int(_digest(f"{place}\0{entry.content}"), 16) / 16**16

    return scan(
        lore.books,
        [message.content for message in messages],
        budget,
        lambda text: count(f"{text}{BLANK_LINE}"),
        draw,
        lore.fill,
        [names[message.role] for message in messages],
    )


def _piece_of(one: Activation) -> ContextPiece:
    digest = _digest(one.entry.content)
    return ContextPiece("lore", one.text, title_of(one.entry), one.book, digest, one.key, one.called_by)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
