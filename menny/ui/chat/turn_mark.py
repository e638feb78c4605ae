"""The mark under a question whose turn brings more than the message: a button that opens what it is, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from menny.chat.turn_context import ContextPiece, Kind, TurnContext
from menny.lorebooks.lorebook import Lorebook
from menny.storage import MessageNode
from menny.ui.safe_markdown import as_label
from menny.ui.shared.options import read_options

MOST_NAMED = 20  # entries without room, in a sentence
AFTER_OTHERS = "Always there once other entries are called up"
EXCERPT = 1_500  # characters of a piece's text
WORDS: Mapping[Kind, tuple[str, str]] = {
    "lore": ("lore entry", "lore entries"),
    "memory": ("earlier message", "earlier messages"),
    "note": ("note", "notes"),
}
WHAT: Mapping[Kind, str] = {
    "lore": "Background from lorebooks, which the model gets with this message:",
    "memory": "Related earlier messages, which the model gets with this message:",
    "note": "Your note, which the model gets with this message:",
}


def draw_turn_mark(entry: MessageNode) -> None:
    """Draw the mark of a question; nothing where its turn holds the message only."""
    context = TurnContext.read(entry.extra)
    if not context:
        return
    books = read_options().lorebooks
    with (
        st.container(key=f"turn-mark-{entry.id}"),
        st.popover(mark_of(context), type="tertiary", icon=":material/auto_stories:", key=f"mark-{entry.id}"),
    ):
        for kind, sentence in WHAT.items():
            if pieces := [piece for piece in context.pieces if piece.kind == kind]:
                st.caption(sentence)
                for piece in pieces:
                    _draw_piece(piece, books)
        if context.over_budget:
            titles = in_a_sentence(context.over_budget, MOST_NAMED)
            st.caption(as_label(f"There was no room left for {titles}: lorebooks may fill only a part of the context."))
        if context.slow_keys:
            st.caption(as_label(f"Stopped, as the search took too long: {', '.join(context.slow_keys)}"))
        if context.untried:
            st.caption(untried_keys(context.untried))


def mark_of(context: TurnContext) -> str:
    """The words of the mark, such as “2 lore entries”."""
    counts = Counter(piece.kind for piece in context.pieces)
    parts = [f"{counts[kind]} {words[counts[kind] > 1]}" for kind, words in WORDS.items() if counts[kind]]
    if not parts:
        keys = "A key was stopped" if context.slow_keys else "Keys not tried"
        parts = ["No room for lore" if context.over_budget else keys]
    return " · ".join(parts)


def in_a_sentence(titles: Sequence[str], most: int) -> str:
    """Return titles in quotes with commas between; of those beyond `most`, how many there are."""
    more = [f"{len(titles) - most:,} more"] if len(titles) > most else []
    return ", ".join([*(f"“{title}”" for title in titles[:most]), *more])


def untried_keys(number: int) -> str:
    """Return the sentence on keys that weren't looked for."""
    keys = "1 regular expression wasn't" if number == 1 else f"{number:,} regular expressions weren't"
    return f"{keys} tried: all of them together may take 50 ms a message."


def why(piece: ContextPiece, book: str) -> str:
    """Why a piece stands there: the key that called it up, and where it was found."""
    origin = f" · {book}" if book else ""
    if piece.kind != "lore":
        return ""
    if piece.called_by:
        return f"Key “{piece.key}”, in the entry “{piece.called_by}”{origin}"
    return (f"Key “{piece.key}”" if piece.key else AFTER_OTHERS) + origin


def _draw_piece(piece: ContextPiece, books: Mapping[str, Lorebook]) -> None:
    book = books.get(piece.source)
    if piece.name:
        st.markdown(f"**{as_label(piece.name)}**")
    if reason := why(piece, book.name if book else ""):
        st.caption(as_label(reason))
    st.text(piece.text if len(piece.text) <= EXCERPT else f"{piece.text[:EXCERPT].rstrip()} …")
