"""What of the conversation the model sees: the choice in the sidebar."""

from collections.abc import Mapping
from typing import get_args

import streamlit as st

from menny.memory import Memory, Strategy

NAMES: Mapping[str, str] = {
    "recent": "Recent turns",
    "turns": "The last turns",
    "everything": "Everything",
    "summary": "Recent turns and a summary",
    "summary-and-turns": "The last turns and a summary",
}
HELP = """What the model sees of a long chat; its context holds so many tokens and no more.

- **Recent turns**: as many as fit.
- **The last turns**: so many before the question.
- **Everything**: all, and no reply once that no longer fits.
- **… and a summary**: the model sums up what it no longer sees, which takes a moment now and then."""


def choose_memory() -> Memory:
    """The choice, and the number of turns where that matters."""
    st.selectbox(
        "Memory",
        get_args(Strategy),
        key="memory",
        persist_state="session",
        format_func=lambda strategy: NAMES[strategy],
        help=HELP,
    )
    memory = Memory(st.session_state["memory"], st.session_state["memory_turns"])
    if memory.names_turns:
        st.number_input("Turns before the question", 0, 1000, step=1, key="memory_turns", persist_state="session")
    return memory
