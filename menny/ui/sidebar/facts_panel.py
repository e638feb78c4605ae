"""The switch by which a persona remembers the user across chats, and the way to what it remembers."""

import streamlit as st

from menny.personas.persona import Persona
from menny.ui.chat.noted import open_memory
from menny.ui.chat.remembering import remembers
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.widget_values import show

HELP = """When this is off, nothing is noted, and nothing that was noted before is used.

When it is on, “Remember that …” in a message is noted at once. When no reply was written for a minute, the model also
notes up to three lasting facts about you from each chat. New chats with this persona begin with what it remembers;
chats that have begun stay as they are. Temporary chats are left out."""


def choose_remembering(session: Session, persona: Persona) -> None:
    """Draw the switch for the open chat's persona, and a button that opens its memory."""
    draw_remembering(session, persona, "remembering")
    st.button(
        as_label(f"What {persona.name} remembers"),
        key="open-memory",
        icon=":material/bookmarks:",
        type="tertiary",
        on_click=open_memory,
        args=(session, persona.id),
    )


def draw_remembering(session: Session, persona: Persona, key: str) -> None:
    """Draw the switch of a persona under a key."""
    show({key: remembers(persona.id)})

    def change() -> None:
        others = [one for one in shared_settings().now.remembering if one != persona.id]
        chosen = [*others, persona.id] if st.session_state[key] else others
        session.set_app(remembering=chosen or None)

    st.toggle(as_label(f"{persona.name} remembers you across chats"), key=key, help=HELP, on_change=change)
