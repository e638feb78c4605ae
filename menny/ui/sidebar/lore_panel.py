"""The choice of a chat's own lorebooks, beside those of the persona and of all chats."""

import streamlit as st

from menny.chat.chat_settings import ChatSettings
from menny.personas.persona import Persona
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.widget_values import show

KEY = "lorebooks"


def choose_lorebooks(session: Session, chosen: ChatSettings, persona: Persona, options: Options) -> None:
    """Draw the choice, where there is a lorebook to choose."""
    books = options.lorebooks
    anyway = [book_id for book_id, book in books.items() if book.everywhere or book_id in persona.lorebooks]
    free = [book_id for book_id in books if book_id not in anyway]
    if free:
        show({KEY: [book_id for book_id in chosen.lorebooks if book_id in free]})
        st.multiselect(
            "Lorebooks of this chat",
            free,
            key=KEY,
            format_func=lambda book_id: as_label(books[book_id].name),
            placeholder="None",
            on_change=lambda: session.choose(lorebooks=list(st.session_state[KEY]) or None),
        )
    if anyway:
        st.caption(as_label(f"Lorebooks: {', '.join(books[book_id].name for book_id in anyway)}"))
