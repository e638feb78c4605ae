"""The shelf: every lorebook with who uses it, and new ones: made, or taken in from files."""

import json

import streamlit as st

from menny.errors import MennyError
from menny.lorebooks.convert import card_book_of
from menny.lorebooks.files import own_folder
from menny.lorebooks.lorebook import Lorebook
from menny.lorebooks.world_info import world_info_of
from menny.personas.card_books import read_lorebook
from menny.ui.personas.draft import Desk, OpenBook
from menny.ui.personas.gallery import draw_report
from menny.ui.personas.importing import ImportResult, draw_downloads, draw_import
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options, own_lorebooks

NEW = "New lorebook"
ABOUT = (
    "Knowledge about a character's world. An entry joins the conversation when a message mentions one of its keys, "
    "and stays at that turn."
)
FORMATS = "World info of SillyTavern (JSON), the lorebook in a character card (PNG, WebP, JSON or .charx), or YAML."


def draw_shelf(desk: Desk, options: Options, session: Session) -> None:
    """Draw all lorebooks, and above them what was just done."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title("Lorebooks", anchor=False, width="content")
        with st.container(horizontal=True, width="content", gap="small"):
            st.button(NEW, key="new_lorebook", type="primary", icon=":material/add:", on_click=_make, args=(desk,))
            with st.popover("Import", icon=":material/upload:", key=f"lore_importing_{desk.imports}"):
                draw_import(desk, "lore_import", "Lorebooks to import", FORMATS, _take_in)
    st.caption(ABOUT)
    draw_report(desk, options, session)
    for error in options.errors:
        if "lorebook" in str(error):
            st.warning(as_label(str(error)), icon=":material/warning:")
    for book_id, book in options.lorebooks.items():
        _draw_row(desk, book_id, book, options)


def open_book(desk: Desk, book_id: str) -> None:
    """Open a lorebook."""
    desk.report()
    desk.book = OpenBook(book_id)


def _make(desk: Desk) -> None:
    try:
        open_book(desk, own_lorebooks().keep(Lorebook(name=NEW)))
    except MennyError as error:
        desk.errors = [str(error)]


def _draw_row(desk: Desk, book_id: str, book: Lorebook, options: Options) -> None:
    users = [persona.name for persona in options.personas if book_id in persona.lorebooks]
    number = len(book.entries)
    facts = [f"{number:,} {'entry' if number == 1 else 'entries'}"]
    facts.append("All chats" if book.everywhere else ", ".join(users) or "Not used yet")
    with st.container(
        border=True, horizontal=True, vertical_alignment="center", gap="small", key=f"lorebook-{book_id}"
    ):
        with st.container(gap="xxsmall"):
            st.markdown(f"**{as_label(book.name)}**")
            st.caption(as_label(" · ".join(facts)))
        st.button("Open", key=f"edit-lore-{book_id}", on_click=open_book, args=(desk, book_id))
        draw_menu(desk, book_id, book)


def draw_menu(desk: Desk, book_id: str, book: Lorebook) -> None:
    """Draw what else can be done with a lorebook."""
    key = f"more-lore-{book_id}"

    def act() -> None:
        if st.session_state[key] == "Delete":
            _delete(desk, book_id, book)

    if st.menu_button("More", ["Export", "Delete"], key=key, type="tertiary", on_click=act) == "Export":
        _draw_export(book_id, book)


def _delete(desk: Desk, book_id: str, book: Lorebook) -> None:
    try:
        undo = own_lorebooks().delete(book_id)
    except MennyError as error:
        desk.errors = [str(error)]
        return
    desk.book = None
    desk.report(f"{book.name} was deleted.", undo)


def _take_in(name: str, data: bytes) -> ImportResult:
    book, left_out = read_lorebook(name, data)
    book_id = own_lorebooks().keep(book)
    return ImportResult(book.name, lambda: own_lorebooks().delete(book_id), left_out)


@st.dialog("Export", icon=":material/download:")
def _draw_export(book_id: str, book: Lorebook) -> None:
    st.caption(as_label(f"{book.name} for another program, or as a file for another Menny."))
    standalone = {"spec": "lorebook_v3", "data": card_book_of(book)}
    files = {
        "World info for SillyTavern": (_json(world_info_of(book)), "json", "application/json"),
        "Lorebook of cards (V3)": (_json(standalone), "json", "application/json"),
    }
    if path := own_lorebooks().path_of(book_id):
        files["Menny's YAML"] = (path.read_bytes(), "yaml", "application/yaml")
    draw_downloads(book_id, files)
    st.caption(as_label(f"Your own lorebooks are stored in {own_folder()}."))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()
