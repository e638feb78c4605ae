"""What was deleted last, and the button that brings it back: drawn where it was deleted, so that it is seen there."""

import streamlit as st

from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, UndoPlace


def draw_undo(session: Session, place: UndoPlace) -> None:
    """Draw the last deletion, if it was here; else nothing, in the same place, so that what follows doesn't move."""
    undo = session.undo
    if undo is None or undo.place != place or undo.chat not in ("", session.chat.id):
        st.empty()
        return
    with st.container(key="undo", horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        st.caption(as_label(undo.sentence), width="stretch")
        st.button("Undo", key="take-back", icon=":material/undo:", on_click=session.undo_deletion)
