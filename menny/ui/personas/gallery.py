"""The gallery: a card for every persona, with its actions."""

from collections.abc import Callable

import streamlit as st

from menny.errors import MennyError
from menny.personas.cards import Version, as_json, as_png
from menny.personas.imports import read_import
from menny.personas.own import books_of, picture_of
from menny.personas.persona import Persona, own_folder
from menny.ui.chat.noted import open_memory
from menny.ui.personas.draft import Desk, open_copy, open_existing, open_new
from menny.ui.personas.facts_dialog import draw_facts
from menny.ui.personas.importing import ImportResult, draw_downloads, draw_import
from menny.ui.personas.persona_store import own_personas
from menny.ui.personas.profile_store import copy_to_profiles, delete_profile
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.pictures import draw_avatar
from menny.ui.sidebar.persona_panel import choose_persona

FORMATS = (
    "Character cards (PNG, WebP, JSON or .charx), text-generation-webui's YAML, an Ollama Modelfile, or Menny's "
    "own YAML. Guardrails stay as you have set them, whatever a file says."
)


def draw_gallery(desk: Desk, options: Options, session: Session) -> None:
    """Draw all personas, and above them what was just done."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title("Personas", anchor=False, width="content")
        with st.container(horizontal=True, width="content", gap="small"):
            st.button("New persona", key="new_persona", type="primary", icon=":material/add:", on_click=open_new)
            with st.popover("Import", icon=":material/upload:", key=f"importing_{desk.imports}"):
                draw_import(desk, "import", "Files to import", FORMATS, _take_in)
    draw_report(desk, options, session)
    for error in options.errors:
        if str(error).startswith("personas"):
            st.warning(as_label(str(error)), icon=":material/warning:")
    with st.grid("auto", min_column_width=270, gap="small"):
        for persona in options.personas:
            _draw_card(persona, session)
    if session.recalling and (store := session.chats.store):
        draw_facts(session, store)


def draw_report(desk: Desk, options: Options, session: Session) -> None:
    """Draw what was done, with a button to undo it and one to go on to a chat."""
    for error in desk.errors:
        st.error(as_label(error), icon=":material/error:")
    for notice in desk.notices:
        st.warning(as_label(notice), icon=":material/info:")
    if not desk.message:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="imported"):
        st.markdown(as_label(desk.message), width="stretch")
        if desk.undo is not None:
            st.button("Undo", key="undo", icon=":material/undo:", on_click=_undo, args=(desk, desk.undo))
        latest = next((one for one in options.personas if one.id == desk.latest), None)
        if latest and st.button(as_label(f"Talk to {latest.name} now"), key="chat-with-latest", type="primary"):
            _go_to_chat(latest, session)


def _undo(desk: Desk, undo: Callable[[], None]) -> None:
    desk.report()
    try:
        undo()
    except MennyError as error:
        desk.errors = [str(error)]


def _draw_card(persona: Persona, session: Session) -> None:
    with st.container(border=True, height="stretch", gap="small", key=f"persona-{persona.id}"):
        with st.container(horizontal=True, gap="small", wrap=False):
            draw_avatar(persona, 64)
            with st.container(gap="xxsmall"):
                st.markdown(f"**{as_label(persona.name)}**")
                st.caption(as_label(persona.tagline))
                if own_personas().own_file(persona.id):
                    st.badge("Changed by you" if own_personas().preset_file(persona.id) else "Yours", color="orange")
        st.space("stretch")
        with st.container(horizontal=True, gap="xsmall"):
            if st.button(as_label(f"Chat with {persona.name}"), key=f"chat-with-{persona.id}"):
                _go_to_chat(persona, session)
            st.button("Edit", key=f"edit-{persona.id}", type="tertiary", on_click=open_existing, args=(persona,))
            _draw_menu(persona, session)


def _draw_menu(persona: Persona, session: Session) -> None:
    key = f"more-{persona.id}"
    own, preset = own_personas().own_file(persona.id), own_personas().preset_file(persona.id)
    last = ["Reset" if preset else "Delete"] if own else []

    def act() -> None:
        match st.session_state[key]:
            case "Memory":
                open_memory(session, persona.id)
            case "Duplicate":
                open_copy(persona)
            case "Copy to my profiles":
                _copy_to_profiles(persona)
            case "Delete" | "Reset":
                _delete(persona, is_preset=preset is not None)

    choices = ["Memory", "Duplicate", "Copy to my profiles", "Export", *last]
    chosen = st.menu_button("More", choices, key=key, type="tertiary", on_click=act)
    if chosen == "Export":
        _draw_export(persona)


def _copy_to_profiles(persona: Persona) -> None:
    desk = Desk.current()
    desk.report()
    try:
        profile_id = copy_to_profiles(persona)
    except MennyError as error:
        desk.errors = [str(error)]
        return

    def undo() -> None:
        delete_profile(profile_id)

    desk.report(f"{persona.name} is one of your profiles now. Choose it in a chat's settings, under You.", undo)


def _delete(persona: Persona, is_preset: bool) -> None:
    desk = Desk.current()
    try:
        undo = own_personas().delete(persona.id)
    except MennyError as error:
        desk.errors = [str(error)]
        return
    desk.report(f"{persona.name} was reset." if is_preset else f"{persona.name} was deleted.", undo)


def _go_to_chat(persona: Persona, session: Session) -> None:
    choose_persona(persona)
    st.switch_page(session.pages["chat"])


def _take_in(name: str, data: bytes) -> ImportResult:
    found = read_import(name, data)
    persona = own_personas().import_(found)
    return ImportResult(persona.name, lambda: own_personas().take_back(persona), found.notices, persona.id)


@st.dialog("Export", icon=":material/download:")
def _draw_export(persona: Persona) -> None:
    st.caption(as_label(f"{persona.name} as a character card for other programs, or as a file for another Menny."))
    chosen = st.segmented_control("Version of the card", [3, 2], default=3, key=f"version-{persona.id}", required=True)
    try:
        version: Version = 2 if chosen == 2 else 3
        books = books_of(persona)
        files = {
            "Card as PNG": (as_png(persona, version, picture_of(persona), books), "png", "image/png"),
            "Card as JSON": (as_json(persona, version, books), "json", "application/json"),
            "Menny's YAML": (own_personas().texts_of(persona.id)[0].encode(), "yaml", "application/yaml"),
        }
    except (MennyError, OSError) as error:
        st.error(as_label(str(error)))
        return
    draw_downloads(persona.id, files)
    st.caption(as_label(f"Your own personas are stored in {own_folder()}."))
