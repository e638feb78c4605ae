"""The list of chats in the sidebar: by day, searched, renamed, pinned, deleted and brought back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby

import streamlit as st

from menny.chat.chat_settings import ChatSettings
from menny.errors import StorageError
from menny.storage import ChatStore, Conversation, SearchResult
from menny.ui.chat.reveal import reveal, target
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, Undo
from menny.ui.shared.options import Options
from menny.ui.shared.you import browser_zone

LISTED = 40
SEARCH = "search"

PERSONA, FOLDER = "filter-persona", "filter-folder"

RENAME, PIN, UNPIN, MOVE, EXPORT, DELETE = "Rename", "Pin", "Unpin", "Move to folder", "Export", "Delete"
ICONS = {RENAME: "edit", PIN: "keep", UNPIN: "keep_off", MOVE: "folder", EXPORT: "download", DELETE: "delete"}


def draw_chat_list(session: Session, options: Options, hosts: Mapping[str, str]) -> None:
    """Draw the search field and the list, or the error where the store can't be read.

    Chats whose model runs on one of these hosts, by the model's id, have a cloud.
    """
    try:
        _draw_chat_list(session, options, hosts)
    except StorageError as error:
        st.warning(as_label(str(error)), icon=":material/database_off:")


def _draw_chat_list(session: Session, options: Options, hosts: Mapping[str, str]) -> None:
    store = session.chats.store
    if store is not None and store.notice:
        st.warning(as_label(store.notice), icon=":material/database_off:")
    if store is None:
        return
    listed = st.session_state.get("listed", LISTED)
    persona, folder = str(st.session_state.get(PERSONA) or ""), str(st.session_state.get(FOLDER) or "")
    conversations = store.conversations(listed + 1, persona, folder)
    if not conversations and not (persona or folder):
        return
    with st.container(key="search-row", horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        st.text_input(
            "Search chats",
            key=SEARCH,
            placeholder="Search chats",
            label_visibility="collapsed",
            icon=":material/search:",
            help="Ctrl K",
            persist_state="session",
        )
        _draw_filter(store, options, is_on=bool(persona or folder))
    with st.container(key="chats", gap=None):
        if text := str(st.session_state[SEARCH] or "").strip():
            in_thoughts = st.toggle("Also in thoughts", key="search-thoughts", persist_state="session")
            _draw_hits(session, store.search(text, in_thoughts=in_thoughts))
            return
        if not conversations:
            st.caption("No chats here. Clear the filter to see all of them.")
        _draw_days(session, store, conversations[:listed], hosts)
        if len(conversations) > listed:
            st.button("More", key="more-chats", type="tertiary", on_click=_list_more)


def _draw_filter(store: ChatStore, options: Options, *, is_on: bool) -> None:
    """Draw the choice of a persona and a folder, whose chats alone are listed."""
    personas = {persona.id: persona.name for persona in options.personas}
    icon = ":material/filter_alt:" if is_on else ":material/filter_list:"
    with st.popover("Filter", icon=icon, key="filter", type="tertiary", help="Show some chats only"):
        st.selectbox(
            "Persona",
            list(personas),
            index=None,
            key=PERSONA,
            placeholder="All personas",
            format_func=lambda one: personas[one],
            persist_state="session",
        )
        st.selectbox(
            "Folder", store.folders(), index=None, key=FOLDER, placeholder="All folders", persist_state="session"
        )


def _list_more() -> None:
    st.session_state["listed"] = st.session_state.get("listed", LISTED) + 4 * LISTED


def _draw_days(
    session: Session, store: ChatStore, conversations: Sequence[Conversation], hosts: Mapping[str, str]
) -> None:
    for day, group in by_day(conversations, datetime.now(browser_zone())):
        st.caption(day)
        for conversation in group:
            _draw_row(session, store, conversation, hosts.get(ChatSettings.read(conversation.settings).model, ""))


def _draw_row(session: Session, store: ChatStore, conversation: Conversation, host: str) -> None:
    is_open = conversation.id == session.chat.id
    key = f"chat-row-{'open' if is_open else 'other'}-{conversation.id}"
    with st.container(key=key, horizontal=True, vertical_alignment="center", gap=None, wrap=False):
        icon = ":material/keep:" if conversation.pinned else ":material/cloud:" if host else None
        if session.chats.job_of(conversation.id):
            icon = ":material/more_horiz:"
        st.button(
            as_label(conversation.title) or "…",
            key=f"open-{conversation.id}",
            type="tertiary",
            width="stretch",
            icon=icon,
            on_click=session.open,
            args=(conversation.id,),
            wrap=False,
            help=f"Sent to {as_label(host)}" if host else None,
        )
        menu = f"menu-{conversation.id}"
        st.menu_button(
            as_label(f"More for {shortened(conversation.title)}"),
            [RENAME, UNPIN if conversation.pinned else PIN, MOVE, EXPORT, DELETE],
            key=menu,
            type="tertiary",
            icon=":material/more_vert:",
            format_func=lambda what: f":material/{ICONS[what]}: {what}",
            on_click=lambda: session.attempt(lambda: _act(session, store, conversation, st.session_state[menu])),
        )


def _act(session: Session, store: ChatStore, conversation: Conversation, what: str | None) -> None:
    match what:
        case "Rename":
            session.renaming = conversation.id
        case "Pin" | "Unpin":
            store.pin(conversation.id, what == PIN)
        case "Move to folder":
            session.moving = conversation.id
        case "Export":
            session.exporting = conversation.id
        case "Delete":
            session.chats.abandon(conversation.id)
            store.delete(conversation.id)
            if conversation.id == session.chat.id:
                session.open("")
            sentence = f"“{shortened(conversation.title)}” was deleted."
            session.undo = Undo(sentence, partial(_bring_back, session, store, conversation), "sidebar")


def _bring_back(session: Session, store: ChatStore, conversation: Conversation) -> None:
    store.undelete(conversation.id)
    session.open(conversation.id)


def _draw_hits(session: Session, hits: Sequence[SearchResult]) -> None:
    if not hits:
        st.caption("Nothing found.")
    for hit in hits:
        with st.container(key=f"hit-{hit.conversation.id}", gap=None), target(hit.entry, hit.conversation.id):
            title = marked(hit) if hit.entry is None else as_label(hit.conversation.title)
            label = title if hit.entry is None else f"{title}  \n{marked(hit)}"
            st.button(
                label,
                key=f"found-{hit.conversation.id}",
                type="tertiary",
                width="stretch",
                on_click=reveal,
                args=(session, hit.conversation.id, hit.entry),
            )


def marked(hit: SearchResult) -> str:
    """Return an excerpt as a label, with its matches highlighted and all text shown as written."""
    return "".join(
        f":orange-background[{as_label(text)}]" if is_match else as_label(text) for text, is_match in hit.excerpt
    )


def shortened(title: str) -> str:
    """Return a title for a sentence."""
    return title if len(title) <= 40 else f"{title[:39]}…"


def by_day(conversations: Sequence[Conversation], now: datetime) -> Iterator[tuple[str, list[Conversation]]]:
    """Yield the conversations by how long ago they were last used; the pinned come first."""

    def part(conversation: Conversation) -> str:
        if conversation.pinned:
            return "Pinned"
        return day_of(datetime.fromtimestamp(conversation.updated, now.tzinfo).date(), now.date())

    for day, group in groupby(conversations, part):
        yield day, list(group)


def day_of(day: date, today: date) -> str:
    """Return the heading of a day: Today, Yesterday, the last week and month, then months by name."""
    ago = (today - day) // timedelta(days=1)
    if ago <= 1:
        return "Today" if ago <= 0 else "Yesterday"
    if ago <= 30:
        return "Last 7 days" if ago <= 7 else "Last 30 days"
    return day.strftime("%B" if day.year == today.year else "%B %Y")
