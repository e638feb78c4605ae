"""Keyboard shortcuts, and what else the browser does without a rerun (`static/shortcuts.js`, `static/theme.js`)."""

import streamlit as st

from menny.ui.shared.static import static_text


def listen_to_keys(theme: str) -> None:
    """Add the listeners to the page, by a component that shows nothing; with a theme, set the colors."""
    js = static_text("theme.js") + static_text("shortcuts.js")
    component = st.components.v2.component("menny_shortcuts", html="<span></span>", js=js)
    component(data={"theme": theme}, key="shortcuts", height=0)
