"""The values that widgets show, set before they are drawn."""

from collections.abc import Mapping

import streamlit as st


def show(values: Mapping[str, object]) -> None:
    """Let widgets show these values, by key; those that do already are left alone."""
    for key, value in values.items():
        if key not in st.session_state or st.session_state[key] != value:
            st.session_state[key] = value
