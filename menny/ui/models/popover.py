"""Popovers that close when what they are for is done."""

from typing import Any

import streamlit as st


def popover(label: str, key: str, icon: str, **named: Any) -> "st.delta_generator.DeltaGenerator":
    """Draw a popover whose state is known, so that `close` can close it."""
    return st.popover(label, key=key, icon=icon, on_change="rerun", **named)


def close(key: str) -> None:
    """Close the popover of this key, from the callback of a button in it."""
    st.session_state[key] = False
