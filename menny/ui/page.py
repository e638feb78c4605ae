"""The script that Streamlit runs at every change: the frame of all pages, and the chat."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import streamlit as st
from streamlit.runtime.scriptrunner import StopException

from menny.config.paths import keep_kernels
from menny.documents import MOST_BYTES
from menny.models.catalogue import ModelSpec, PathSource
from menny.models.loader import why_no_continuing
from menny.ui.chat.address import follow_address, show_address
from menny.ui.chat.changes import draw_watch, state_of
from menny.ui.chat.conversation import draw_conversation
from menny.ui.chat.draft_job import draw_draft_button, draw_draft_status, follow_draft
from menny.ui.chat.sending import Sending
from menny.ui.chat.speakers import Speakers, spoken_by
from menny.ui.chat.start_page import draw_start_page, prepare_chat
from menny.ui.chat.tab_closed import has_left
from menny.ui.chat.undo import draw_undo
from menny.ui.chat.unsent_list import ask_what_was_typed, draw_unsent
from menny.ui.models.page import draw_models
from menny.ui.personas.page import draw_personas
from menny.ui.personas.profile_editor import draw_profile_dialog
from menny.ui.safe_markdown import as_label
from menny.ui.session import MESSAGE, Session
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.callbacks import keep_callbacks_whole
from menny.ui.shared.feedback import ABOVE_BOX
from menny.ui.shared.options import read_options
from menny.ui.shared.pictures import picture
from menny.ui.shared.shared_engine import shared_engine
from menny.ui.shared.shortcuts import listen_to_keys
from menny.ui.shared.style import apply_style
from menny.ui.sidebar.chat_dialogs import draw_dialogs
from menny.ui.sidebar.chat_files import draw_files
from menny.ui.sidebar.chat_list import draw_chat_list
from menny.ui.sidebar.choices import Choices
from menny.ui.sidebar.guardrail_panel import draw_instructions
from menny.ui.sidebar.retention_panel import draw_temporary
from menny.ui.sidebar.sidebar import draw_sidebar
from menny.ui.sidebar.thinking_panel import asked_words


def main() -> None:
    """Draw the frame, and in it the requested page."""
    apply_style()
    keep_kernels()
    keep_callbacks_whole()
    if logo := picture("logo"):
        st.logo(logo, size="large")
    # Before the pages are named: else the browser would ask fonts.gstatic.com for a page's icon to show on its tab.
    st.set_page_config(page_icon=picture("favicon") or "💬")
    session = Session.current()
    session.pages = {
        "chat": st.Page(draw_chat, title="Chat", icon=":material/forum:", default=True),
        "personas": st.Page(draw_personas, title="Personas", icon=":material/groups:", url_path="personas"),
        "models": st.Page(draw_models, title="Models", icon=":material/deployed_code:", url_path="models"),
    }
    page = st.navigation(list(session.pages.values()), position="top")
    st.set_page_config(
        page_title="Menny" if page.title == "Chat" else f"{page.title} · Menny",
        layout="centered" if page.title == "Chat" else "wide",
    )
    listen_to_keys(shared_settings().now.theme or "")
    if page.title != "Chat":
        session.leave()
    page.run()


def draw_chat() -> None:
    """Draw the chat. The stop button ends the reply that is shown; a closed or reloaded tab doesn't."""
    session = Session.current()
    try:
        draw_page(session)
    except StopException:
        if not has_left():
            session.stop()
        raise


def draw_page(session: Session) -> None:
    """Draw sidebar, message box, then the conversation or the start page."""
    session.settle()
    follow_address(session)
    options = read_options()
    session.attempt(lambda: session.chats.tidy(options.settings.delete_chats_after))
    models = [*options.models, *session.own_models]
    speakers = Speakers(
        {persona.id: persona for persona in options.personas},
        {model.id: model.name for model in models},
        [model.id for model in models if session.place_of(model)],
        lambda model_id: _why_no_continuing(session, models, model_id),
        {model.id: model.host for model in models if model.host},
    )
    choices, chats = draw_sidebar(session, options)
    speakers = replace(speakers, you=choices.you)
    if not session.chat.entries:
        prepare_chat(session, choices)
    _send_what_was_typed(session, choices, lambda sending: spoken_by(sending, choices, session, options, models))
    show_address(session)
    draw_watch(session.chat.id, state_of(session.chats, shared_settings(), session.chat.id))
    with chats:
        draw_chat_list(session, options, speakers.hosts)
        draw_files(session)
    draw_dialogs(session)
    draw_profile_dialog(session, options)
    start = st.empty()
    if session.chat.entries:
        start.empty()  # at once: else the start page would stay, faded, until the reply ends
        draw_conversation(session, speakers, choices.usage)
    else:
        with start.container():
            draw_start_page(session, choices, options)
    follow_draft(session)
    if (sent := session.sent) and sent.chat is session.chat:
        sent.join(0.5)  # it wasn't drawn: refused, over already, or another version is shown
        if sent.is_over:
            st.rerun()


def _why_no_continuing(session: Session, models: Sequence[ModelSpec], model_id: str) -> str:
    """Return why a model that is loaded can't continue its replies; "" where it can, or isn't loaded."""
    spec = next((model for model in models if model.id == model_id), None)
    source = session.place_of(spec) if spec else None
    engine = shared_engine().engine_of(source) if source else None
    return why_no_continuing(engine) if engine else ""


def _send_what_was_typed(session: Session, choices: Choices, spoken: Callable[[Sending], Choices]) -> None:
    """Draw the message box with errors, notices and unsent messages above it, and send what was typed."""
    with st.bottom:
        above = st.container()
    error = _error(choices)
    # Outside of `st.bottom` the box makes the page scroll with a growing reply; the start page shouldn't scroll. The
    # move makes another box of it, and so happens as the first message is sent, not while the next one is typed.
    is_begun = session.chat.entries or session.pending or session.typed
    with nullcontext() if is_begun else st.bottom:
        st.chat_input(
            f"Message {choices.persona.name}",
            key=MESSAGE,
            accept_file="multiple",
            max_upload_size=MOST_BYTES >> 20,
            disabled=bool(error),
            on_submit=session.keep_typed,
        )
    with (
        st.bottom,
        st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="center", gap="xsmall"),
    ):
        settings, source = choices.settings, choices.source
        full = session.chat.instructions(shared_engine().engine_of(source) if source else None, settings)
        draw_instructions(choices.instructions, full.system_text, asked_words(settings, source))
        draw_draft_button(session, choices)
        if choices.model and choices.model.host:
            st.caption(f":material/cloud: Sent to {as_label(choices.model.host)}", width="content")
        st.caption("Models make things up. Check what matters.", width="content")
    ask_what_was_typed(session)
    by = spoken(session.pending) if session.pending else choices
    if (why := _error(by)) and by is not choices:  # another persona or model, which can't answer
        session.pending = None
        session.feedback.error(ABOVE_BOX, why)
    elif by.model and by.source and not why:
        session.send(by.persona.id, by.model.id, by.model.name, by.source, by.settings)
    with above:  # each in a place of its own, as what has moved stays, faded, until the reply under way ends
        draw_undo(session, "box")
        if error:
            _draw_error(error, choices, session)
        elif sentence := session.feedback.at(ABOVE_BOX):
            st.warning(as_label(sentence), icon=":material/info:")
        else:
            st.empty()
        if storage_error := session.chats.error or session.chat.unkept or session.chat.unread:
            st.warning(as_label(storage_error), icon=":material/database_off:")
        else:
            st.empty()
        draw_temporary(session)
        draw_unsent(session)
        draw_draft_status(session)
        if session.job is not None:
            st.button("Stop", key="stop", icon=":material/stop_circle:", on_click=session.stop, help="Esc")


def _error(choices: Choices) -> str:
    """Return why nothing can be sent at the moment; empty where messages can be."""
    if choices.error:
        return choices.error
    if choices.model is None:
        return "There is no model yet. Add one on the Models page."
    if choices.source is None:
        return f"{choices.model.name} isn't on this machine yet."
    return ""


def _draw_error(error: str, choices: Choices, session: Session) -> None:
    with st.container(border=True, key="hindrance", gap="xsmall"):
        st.markdown(f":material/download: **{as_label(error)}**")
        if choices.error or choices.model is None:
            return
        if isinstance(choices.model.source, PathSource):
            st.caption(as_label(choices.model.how_to_get))
        else:
            st.page_link(
                session.pages["models"], label="Download it on the Models page", icon=":material/deployed_code:"
            )
            st.caption("Or run this command in Menny's folder, or choose another model in the settings.")
            st.code(choices.model.how_to_get, language=None, wrap_lines=True)


if __name__ == "__main__":
    main()
