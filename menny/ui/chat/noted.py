"""The marks below messages that a persona remembers something from; a click opens all that it remembers."""

from collections.abc import Mapping, Sequence

import streamlit as st

from menny.errors import StorageError
from menny.storage import Fact
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session


def facts_by_message(session: Session) -> Mapping[str, Sequence[Fact]]:
    """Return the facts that come from the open chat, by the message's id."""
    found: dict[str, list[Fact]] = {}
    store = session.chats.store
    try:
        facts = store.facts.of_chat(session.chat.id) if store and not session.chat.is_temporary else []
    except StorageError:  # the page shows it elsewhere
        facts = []
    for fact in facts:
        found.setdefault(fact.message, []).append(fact)
    return found


def draw_noted(session: Session, facts: Sequence[Fact]) -> None:
    """Draw what was noted from a message."""
    for fact in facts:
        st.button(
            as_label(f"Remembered: {fact.text}"),
            key=f"noted-{fact.id}",
            icon=":material/bookmark:",
            type="tertiary",
            on_click=open_memory,
            args=(session, fact.persona),
        )


def open_memory(session: Session, persona_id: str) -> None:
    """Open what a persona remembers of the user."""
    session.close_dialog()
    session.recalling = persona_id
