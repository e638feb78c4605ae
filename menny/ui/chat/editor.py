"""The form in which a message is edited: Ctrl or ⌘ with Enter sends it, Escape leaves it."""

from collections.abc import Callable

import streamlit as st


def draw_editor(
    message_id: str, text: str, label: str, action: str, on_save: Callable[[str], None], on_leave: Callable[[], None]
) -> None:
    """Draw the form; `action` is the word on its button. `static/shortcuts.js` knows it by its keys."""
    key = f"edit-{message_id}"

    def save() -> None:
        on_save(st.session_state[key])

    with st.form(f"form-{message_id}", border=False, enter_to_submit=True):
        st.text_area(label, value=text, key=key, height="content", label_visibility="collapsed")
        with st.container(horizontal=True, gap="xsmall"):
            st.form_submit_button(action, key=f"send-{message_id}", type="primary", on_click=save, help="Ctrl Enter")
            st.form_submit_button("Cancel", key=f"leave-{message_id}", on_click=on_leave, help="Esc")
