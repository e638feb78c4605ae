"""The link from a chat that was begun as a copy to the one that it was copied from."""

from collections.abc import Mapping

import streamlit as st

from menny.errors import StorageError
from menny.storage import COPIED_FROM
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session


def draw_origin(session: Session) -> None:
    """Draw a button that opens the chat which this one was copied from, if it was and that is still here."""
    link, store = session.chat.settings.get(COPIED_FROM), session.chats.store
    chat_id = link.get("chat") if isinstance(link, Mapping) else None
    if store is None or not isinstance(chat_id, str):
        return
    try:
        source = store.conversation(chat_id)
    except StorageError:  # which the page shows elsewhere
        return
    if source is None or source.deleted:
        return
    st.button(
        as_label(f"Copied from “{source.title}”"),
        key="copied-from",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=session.open,
        args=(chat_id,),
    )
