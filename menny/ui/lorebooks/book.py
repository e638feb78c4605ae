"""A lorebook that is open: its settings, its entries page by page, and beside them a trial of its keys."""

import math

import streamlit as st
from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import MennyError
from menny.lorebooks.lorebook import MAX_ENTRIES, Lorebook, LoreEntry
from menny.lorebooks.scan import silent_keys, title_of
from menny.text import sanitize
from menny.ui.lorebooks.entry import open_entry
from menny.ui.lorebooks.shelf import draw_menu
from menny.ui.lorebooks.trial import draw_budget, draw_trial
from menny.ui.personas.draft import Desk, OpenBook
from menny.ui.personas.gallery import draw_report
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options, own_lorebooks

ON_A_PAGE = 25
MOST_SHOWN = 50  # of keys that never match


def draw_book(desk: Desk, opened: OpenBook, book: Lorebook, options: Options, session: Session) -> None:
    """Draw the book."""
    st.button("All lorebooks", key="close_lorebook", type="tertiary", icon=":material/arrow_back:", on_click=_close)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(as_label(book.name), anchor=False, width="content")
        draw_menu(desk, opened.book_id, book)
    with st.container():  # what is open below stays open when something is said here
        draw_report(desk, options, session)
        _draw_silent(book)
    entries, trial = st.columns([3, 2], gap="large")
    with entries:
        _draw_settings(desk, opened, book)
        _draw_entries(opened, book)
    with trial, st.container(key="lore-trial"):
        draw_budget(opened.book_id, book, options, session)
        draw_trial(opened.book_id, book, options, session)


def _close() -> None:
    desk = Desk.current()
    desk.report()
    desk.book = None


def _draw_silent(book: Lorebook) -> None:
    """Name the keys that never match."""
    if not (silent := silent_keys(book)):
        return
    title = "1 key never matches" if len(silent) == 1 else f"{len(silent):,} keys never match"
    with st.expander(title, icon=":material/warning:"):
        for entry, key, why in silent[:MOST_SHOWN]:
            st.caption(as_label(f"{entry}: “{key}”, as {why}"))
        if len(silent) > MOST_SHOWN:
            st.caption(f"And {len(silent) - MOST_SHOWN:,} more.")


def _draw_settings(desk: Desk, opened: OpenBook, book: Lorebook) -> None:
    with st.expander("Book settings", icon=":material/tune:"), st.form("lorebook", border=False):
        name = st.text_input("Name", book.name, max_chars=200)
        for error in opened.errors.values():  # of the name, as a rule
            st.markdown(f":red[:material/error: {as_label(error)}]")
        description = st.text_area(
            "Description", book.description, height=80, help="For you; the model doesn't see it."
        )
        depth = st.number_input(
            "Messages to search", 0, 1000, book.scan_depth, help="How many of the last messages are searched for keys."
        )
        budget = st.number_input(
            "Tokens per turn",
            0,
            10**7,
            book.token_budget,
            placeholder="No limit of its own",
            help="The most that this book may add to a turn. All lorebooks together may fill 25% of the context.",
        )
        recursive = st.toggle("Entries can call up other entries", book.recursive_scanning)
        everywhere = st.toggle("Use it in all chats", book.everywhere, help="Whoever answers.")
        is_saved = st.form_submit_button("Save", key="save_lorebook", type="primary", icon=":material/check:")
    if not is_saved:
        return
    values = {
        "name": sanitize(name),
        "description": sanitize(description),
        "scan_depth": depth,
        "token_budget": budget,
        "recursive_scanning": recursive,
        "everywhere": everywhere,
    }
    try:
        changed = from_data(values, Lorebook).model_dump(include=set(values))
        own_lorebooks().keep(book.model_copy(update=changed), opened.book_id)
    except ValidationError as error:
        opened.errors = {
            str(place[0]): f"{str(place[0]).capitalize()}: {text}" for place, text in field_errors(error, Lorebook)
        }
    except MennyError as error:
        opened.errors = {"": str(error)}
    else:
        opened.errors = {}
        desk.report("The settings were saved.")
    st.rerun()


def _draw_entries(opened: OpenBook, book: Lorebook) -> None:
    """Draw the entries that are searched for, a page of them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(
            "Search the entries", key="lore_search", icon=":material/search:", placeholder="Word or key"
        )
        st.button(
            "New entry",
            key="new_entry",
            icon=":material/add:",
            on_click=open_entry,
            args=(opened, len(book.entries), None),
            disabled=len(book.entries) >= MAX_ENTRIES,
        )
    found = [place for place, entry in enumerate(book.entries) if _has(entry, wanted.strip().casefold())]
    if not found:
        st.caption("No entry matches." if book.entries else "No entries yet.")
        return
    pages = math.ceil(len(found) / ON_A_PAGE)
    page = 1
    if pages > 1:
        st.caption(f"{len(found):,} entries")
        page = min(pages, st.pagination(pages, key=f"lore_page_{wanted}"))
    with st.container(key="lore-entries", gap=None):
        for place in found[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]:
            _draw_row(opened, place, book.entries[place])


def _draw_row(opened: OpenBook, place: int, entry: LoreEntry) -> None:
    facts = [] if entry.enabled else ["Off"]
    facts += ["Always there"] if entry.is_always_there else []
    keys = [key for key in entry.keys[:8] if key != title_of(entry)]
    facts += [", ".join(keys)] if keys and not entry.constant else []
    facts += [] if entry.keys or entry.is_always_there else ["No keys"]
    facts += [] if keys else [entry.content[:100]]
    with st.container(key=f"lore-row-{place}", gap=None):
        st.button(
            as_label(title_of(entry)[:80] or "Untitled"),
            key=f"entry-{place}",
            type="tertiary",
            on_click=open_entry,
            args=(opened, place, entry),
        )
        st.caption(as_label(" · ".join(filter(None, facts))[:160]))


def _has(entry: LoreEntry, wanted: str) -> bool:
    texts = (entry.name, *entry.keys, *entry.secondary_keys, entry.content)
    return not wanted or any(wanted in text.casefold() for text in texts)
