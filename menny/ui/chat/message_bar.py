"""The row of small buttons below a message: one element, so that a long chat stays light.

The browser copies by itself (`static/message_bar.js`); every other button reports its name, and the chosen value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from menny.ui.shared.static import static_text

_HTML = '<div class="bar"></div>'

Choices = Sequence[tuple[str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True, slots=True)
class Bar:
    """The content of a row: the text to copy, tools by icon and label, and the place among alternatives."""

    text: str
    copy_label: str
    tools: Sequence[tuple[str, str]] = ()
    alternatives: Sequence[str] = ()
    this: str = ""
    choices: Choices = ()


def in_key(message_id: str) -> str:
    """Return an id as a key has it: Streamlit refuses two underscores in a row, which an id may have."""
    return message_id.replace("_", ".")


def message_bar(bar: Bar, key: str, on_use: Callable[[str, str], None]) -> None:
    """Draw the row; `on_use` is called with the tool's name and a value: the alternative, or the choice."""
    key = in_key(key)
    at = bar.alternatives.index(bar.this) if bar.this in bar.alternatives else 0
    around = ["", *bar.alternatives, ""]

    def used() -> None:
        if event := st.session_state[key].used:
            on_use(str(event["name"]), str(event["value"]))

    css, js = static_text("message_bar.css"), static_text("message_bar.js")
    component = st.components.v2.component("menny_message_bar", html=_HTML, css=css, js=js)
    component(
        data={
            "text": bar.text,
            "copyLabel": bar.copy_label,
            "tools": [list(tool) for tool in bar.tools],
            "choices": [[title, [list(choice) for choice in group]] for title, group in bar.choices if group],
            "at": at + 1,
            "of": len(bar.alternatives),
            "before": around[at],
            "after": around[at + 2] if at + 2 < len(around) else "",
        },
        key=key,
        width="content",
        height=30,
        on_used_change=used,
    )
