"""Keyboard shortcuts, and what else the browser does without a rerun: `static/shortcuts.js` says what."""

import streamlit as st

from menny.ui.shared.static import static_text


def listen_to_keys() -> None:
    """Add the listeners to the page, by a component that shows nothing."""
    st.components.v2.component("menny_shortcuts", html="<span></span>", js=static_text("shortcuts.js"))(
        key="shortcuts", height=0
    )
