"""The page of personas: the gallery, or the editor while a persona is being written."""

import streamlit as st

from menny.ui.personas.draft import Desk
from menny.ui.personas.editor import draw_editor
from menny.ui.personas.gallery import draw_gallery
from menny.ui.session import Session
from menny.ui.shared.options import read_options


def draw_personas() -> None:
    """Draw the page."""
    desk, session, options = Desk.current(), Session.current(), read_options()
    with st.container(key="personas"):
        if desk.draft is None:
            draw_gallery(desk, options, session)
        else:
            draw_editor(desk.draft, options, session)
