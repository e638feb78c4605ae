"""The page of personas: who there is to talk to."""

import streamlit as st

from menny.ui.library import read_library
from menny.ui.pictures import avatar_of
from menny.ui.sidebar import choose_persona
from menny.ui.state import Session
from menny.ui.text import as_label


def draw_personas() -> None:
    """A card for everybody, with the way to a chat."""
    session = Session.current()
    st.title("Personas", anchor=False)
    st.caption("Everybody there is to talk to.")
    with st.grid("auto", min_column_width=150, gap="xsmall"):
        for persona in read_library().personas:
            with st.container(border=True, height="stretch", gap="xsmall"):
                avatar = avatar_of(persona)
                if not avatar.startswith(":"):
                    st.image(avatar, width=72, alt="")
                st.markdown(f"**{as_label(persona.name)}**")
                st.caption(as_label(persona.tagline))
                if st.button(as_label(f"Chat with {persona.name}"), key=f"chat-with-{persona.id}"):
                    choose_persona(persona)
                    st.switch_page(session.pages["chat"])
