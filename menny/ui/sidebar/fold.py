"""Folds of the sidebar: their content is drawn only while they are open, so that every other click is quicker."""

from typing import Any

import streamlit as st
from streamlit.elements.lib.mutable_expander_container import ExpanderContainer

from menny.ui.session import Session

# Their keys
ADDING, ADVANCED, GUIDE = "fold-own-model", "fold-advanced", "fold-guide"
MODERATION, FILES = "moderation", "fold-files"


def fold(session: Session, label: str, key: str, **look: Any) -> ExpanderContainer:
    """Draw a fold; its `open` tells whether to draw the content.

    It stays as it is during a visit to another page, and when its icon changes: to Streamlit it is another one then.
    """
    st.session_state[key] = st.session_state.get(key, key in session.unfolded)
    box = st.expander(label, key=key, on_change="rerun", **look)
    (session.unfolded.add if box.open else session.unfolded.discard)(key)
    return box
