"""What Streamlit runs from top to bottom at every change: the frame, and the chat: sidebar, message box, turns."""

from contextlib import nullcontext

import streamlit as st
from streamlit.runtime.scriptrunner import StopException

from menny.catalogue import PathSource
from menny.ui.conversation import draw_conversation
from menny.ui.hero import draw_hero
from menny.ui.library import read_library
from menny.ui.models.page import draw_models
from menny.ui.personas.page import draw_personas
from menny.ui.pictures import picture
from menny.ui.run import Order
from menny.ui.sidebar import Choices, draw_sidebar
from menny.ui.state import MESSAGE, Session
from menny.ui.style import apply_style
from menny.ui.text import as_label


def main() -> None:
    """Draw the frame, and in it the page that was asked for."""
    apply_style()
    if logo := picture("logo"):
        st.logo(logo, size="large")
    session = Session.current()
    session.pages = {
        "chat": st.Page(draw_chat, title="Chat", icon=":material/forum:", default=True),
        "personas": st.Page(draw_personas, title="Personas", icon=":material/groups:", url_path="personas"),
        "models": st.Page(draw_models, title="Models", icon=":material/deployed_code:", url_path="models"),
    }
    page = st.navigation(list(session.pages.values()), position="top")
    st.set_page_config(
        page_title="Menny" if page.title == "Chat" else f"{page.title} · Menny",
        page_icon=picture("favicon"),
        layout="centered" if page.title == "Chat" else "wide",
    )
    page.run()


def draw_chat() -> None:
    """The chat. When it is stopped, by the stop button or a closed tab, so is the reply it was showing."""
    session = Session.current()
    try:
        draw_page(session)
    except StopException:
        session.stop()
        raise


def draw_page(session: Session) -> None:
    session.settle()
    library = read_library()
    choices = draw_sidebar(session, library)
    _send_what_was_typed(session, choices)
    start = st.empty()
    if session.chat.turns:
        start.empty()  # at once: what a run doesn't draw again would stay, faded, until the reply ends
        models = {model.id: model.name for model in [*library.models, *session.own_models]}
        draw_conversation(session, {persona.id: persona for persona in library.personas}, models)
    else:
        with start.container():
            draw_hero(session, choices, library.personas)
    if session.run is not None:  # it was over, or its message refused, before the conversation was drawn
        session.run.join()
        st.rerun()


def _send_what_was_typed(session: Session, choices: Choices) -> None:
    """The message box at the bottom, above it what there is to say about it, and then its message on its way."""
    with st.bottom:
        above = st.container()
    hindrance = _hindrance(choices)
    # Placed by Streamlit itself, the box makes the page follow a growing reply; the start should stay at its top.
    with nullcontext() if session.chat.turns else st.bottom:
        typed = st.chat_input(
            f"Message {choices.persona.name}",
            key=MESSAGE,
            submit_mode="stop",
            disabled=session.is_answering or bool(hindrance),
        )
    with st.bottom:
        st.caption("Models make things up. Check what matters.", text_alignment="center")
    text = session.next_message(typed)
    if text and choices.model and choices.path:
        order = Order(
            choices.model.name, choices.path, choices.model.template, choices.brief, choices.params, choices.memory
        )
        session.send(text, choices.persona.id, choices.model.id, order)
    with above:
        if hindrance:
            _tell(hindrance, choices, session)
        elif session.notice:
            st.warning(as_label(session.notice), icon=":material/content_cut:")
        if session.is_answering and not typed:  # else the message box has a stop button itself
            st.button("Stop", key="stop", icon=":material/stop_circle:", on_click=session.stop)


def _hindrance(choices: Choices) -> str:
    """Why nothing can be sent as things are; empty where nothing is in the way."""
    if choices.fault:
        return choices.fault
    if choices.model is None:
        return "There is no model to talk to: the catalogue is empty."
    if choices.path is None:
        return f"{choices.model.name} isn't on this machine yet."
    return ""


def _tell(hindrance: str, choices: Choices, session: Session) -> None:
    with st.container(border=True, key="hindrance", gap="xsmall"):
        st.markdown(f":material/download: **{as_label(hindrance)}**")
        if choices.model is None or choices.path is not None:
            return
        if isinstance(choices.model.source, PathSource):
            st.caption(as_label(choices.model.how_to_get))
        else:
            st.page_link(session.pages["models"], label="Get it on the page of models", icon=":material/deployed_code:")
            st.caption("Or run this in Menny's folder, then come back; or choose another model in the sidebar.")
            st.code(choices.model.how_to_get, language=None, wrap_lines=True)


if __name__ == "__main__":
    main()
