"""The open chat in the page's address: a reload, a link and the browser's back button lead to it."""

import streamlit as st

from menny.ui.session import Session

CHAT = "chat"  # the name of its id there


def follow_address(session: Session) -> None:
    """Open the chat in the address if that has changed: by a reload, a link, or the browser's back button."""
    chat_id = st.query_params.get(CHAT, "")
    if chat_id != session.address and (chat_id or session.address is not None) and chat_id != session.chat.id:
        session.open(chat_id)
    session.address = chat_id


def show_address(session: Session) -> None:
    """Put the open chat into the address, once it has a message."""
    here = session.chat.id if session.chat.entries and not session.chat.is_temporary else ""
    if here != session.address:
        if here:
            st.query_params[CHAT] = here
        else:
            st.query_params.pop(CHAT, None)
        session.address = here
