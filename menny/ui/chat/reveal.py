"""The way to one message of a chat: the chat is opened at it, and the browser scrolls to it (`static/shortcuts.js`)."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import streamlit as st

from menny.ui.chat.message_bar import in_key
from menny.ui.session import Session


def target(entry_id: str | None, row: str) -> AbstractContextManager[object]:
    """Return a container for a row's button that leads to a message: its key names the message to scroll to."""
    return st.container(key=f"target-{in_key(entry_id)}__{row}", gap=None) if entry_id else nullcontext()


def reveal(session: Session, chat_id: str, entry_id: str | None) -> None:
    """Open a chat at the version that has a message, and draw the messages from it on."""
    session.open(chat_id)
    if entry_id:
        session.attempt(partial(session.chat.choose, entry_id))
        path = [entry.id for entry in session.chat.entries]
        if entry_id in path:
            session.shown = max(session.shown, len(path) - path.index(entry_id))
