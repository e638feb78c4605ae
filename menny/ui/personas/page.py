"""The page of personas and lorebooks: the galleries, or the editor while one of them is being written."""

import streamlit as st

from menny.ui.lorebooks.book import draw_book
from menny.ui.lorebooks.entry import draw_entry
from menny.ui.lorebooks.shelf import draw_shelf
from menny.ui.personas.draft import PERSONAS, Desk
from menny.ui.personas.editor import draw_editor
from menny.ui.personas.gallery import draw_gallery
from menny.ui.session import Session
from menny.ui.shared.options import read_options

SHELVES = "shelves"  # the key of the tabs


def draw_personas() -> None:
    """Draw the page."""
    desk, session, options = Desk.current(), Session.current(), read_options()
    with st.container(key="personas"):
        if desk.draft is not None:
            draw_editor(desk.draft, options, session)
            return
        if desk.book is not None and (book := options.lorebooks.get(desk.book.book_id)):
            if desk.book.place is None:
                draw_book(desk, desk.book, book, options, session)
            else:
                draw_entry(desk, desk.book, book)
            return
        desk.book = None
        st.session_state.setdefault(SHELVES, desk.shelf)
        personas, lorebooks = st.tabs([PERSONAS, "Lorebooks"], key=SHELVES, on_change="rerun")
        desk.shelf = st.session_state[SHELVES]  # Streamlit forgets it while a lorebook or another page is open
        if personas.open:
            with personas:
                draw_gallery(desk, options, session)
        else:
            with lorebooks:
                draw_shelf(desk, options, session)
