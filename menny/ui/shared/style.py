"""The stylesheet of the page, for what Streamlit's theme has no option for."""

import streamlit as st

from menny.ui.shared.static import static_text


def apply_style() -> None:
    """Add `static/style.css` to the page."""
    st.html(f"<style>\n{static_text('style.css')}</style>")
