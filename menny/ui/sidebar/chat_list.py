"""The list of chats in the sidebar: by day, searched, renamed, pinned, deleted and brought back."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from itertools import groupby
from zoneinfo import ZoneInfo

import streamlit as st

from menny.errors import StorageError
from menny.storage import ChatStore, Conversation, SearchResult
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, Undo
from menny.ui.sidebar.chat_files import draw_export

LISTED = 40
SEARCH = "search"

RENAME, PIN, UNPIN, EXPORT, DELETE = "Rename", "Pin", "Unpin", "Export", "Delete"
ICONS = {RENAME: "edit", PIN: "keep", UNPIN: "keep_off", EXPORT: "download", DELETE: "delete"}


def draw_chat_list(session: Session) -> None:
    """Draw the search field and the list, or the error where the store can't be read."""
    try:
        _draw_chat_list(session)
    except StorageError as error:
        st.warning(as_label(str(error)), icon=":material/database_off:")


def _draw_chat_list(session: Session) -> None:
    store = session.chats.store
    if store is not None and store.notice:
        st.warning(as_label(store.notice), icon=":material/database_off:")
    if session.undo is not None:
        with st.container(key="undo", horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
            st.caption(as_label(session.undo.sentence), width="stretch")
            st.button("Undo", key="take-back", icon=":material/undo:", on_click=session.undo_deletion)
    if store is None:
        return
    listed = st.session_state.get("listed", LISTED)
    conversations = store.conversations(limit=listed + 1)
    if not conversations:
        return
    st.text_input(
        "Search chats",
        key=SEARCH,
        placeholder="Search chats",
        label_visibility="collapsed",
        icon=":material/search:",
        help="Ctrl K",
    )
    with st.container(key="chats", gap=None):
        if text := st.session_state[SEARCH].strip():
            in_thoughts = st.toggle("Also in thoughts", key="search-thoughts", persist_state="session")
            _draw_hits(session, store.search(text, in_thoughts=in_thoughts))
        else:
            _draw_days(session, store, conversations[:listed])
            if len(conversations) > listed:
                st.button("More", key="more-chats", type="tertiary", on_click=_list_more)


def _list_more() -> None:
    st.session_state["listed"] = st.session_state.get("listed", LISTED) + 4 * LISTED


def _draw_days(session: Session, store: ChatStore, conversations: Sequence[Conversation]) -> None:
    for day, group in by_day(conversations, datetime.now(_zone())):
        st.caption(day)
        for conversation in group:
            _draw_row(session, store, conversation)


def _draw_row(session: Session, store: ChatStore, conversation: Conversation) -> None:
    is_open = conversation.id == session.chat.id
    key = f"chat-row-{'open' if is_open else 'other'}-{conversation.id}"
    with st.container(key=key, horizontal=True, vertical_alignment="center", gap=None, wrap=False):
        icon = ":material/keep:" if conversation.pinned else None
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
        )
        menu = f"menu-{conversation.id}"
        st.menu_button(
            "Rename, pin, export or delete",
            [RENAME, UNPIN if conversation.pinned else PIN, EXPORT, DELETE],
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
        case "Export":
            session.exporting = conversation.id
        case "Delete":
            session.chats.abandon(conversation.id)
            store.delete(conversation.id)
            if conversation.id == session.chat.id:
                session.open("")
            title = conversation.title if len(conversation.title) <= 40 else f"{conversation.title[:39]}…"
            session.undo = Undo(f"“{title}” was deleted.", partial(_bring_back, session, store, conversation))


def _bring_back(session: Session, store: ChatStore, conversation: Conversation) -> None:
    store.undelete(conversation.id)
    session.open(conversation.id)


def _draw_hits(session: Session, hits: Sequence[SearchResult]) -> None:
    if not hits:
        st.caption("Nothing found.")
    for hit in hits:
        with st.container(key=f"hit-{hit.conversation.id}", gap=None), _target(hit):
            title = marked(hit) if hit.entry is None else as_label(hit.conversation.title)
            label = title if hit.entry is None else f"{title}  \n{marked(hit)}"
            st.button(
                label,
                key=f"found-{hit.conversation.id}",
                type="tertiary",
                width="stretch",
                on_click=_reveal,
                args=(session, hit),
            )


def _target(hit: SearchResult) -> AbstractContextManager[object]:
    """A container whose key names the message to scroll to, for `shortcuts.js`."""
    return st.container(key=f"target-{hit.entry}", gap=None) if hit.entry else nullcontext()


def _reveal(session: Session, hit: SearchResult) -> None:
    """Open the chat of a search result at the version that matches, and draw the messages from it on."""
    session.open(hit.conversation.id)
    if hit.entry:
        session.attempt(partial(session.chat.choose, hit.entry))
        path = [entry.id for entry in session.chat.entries]
        if hit.entry in path:
            session.shown = max(session.shown, len(path) - path.index(hit.entry))


def marked(hit: SearchResult) -> str:
    """Return an excerpt as a label, with its matches highlighted and all text shown as written."""
    return "".join(
        f":orange-background[{as_label(text)}]" if is_match else as_label(text) for text, is_match in hit.excerpt
    )


def draw_dialogs(session: Session) -> None:
    """Draw the dialog that is open, if one is."""
    store = session.chats.store
    if store is not None and session.renaming:
        session.attempt(lambda: _rename(session, store))
    elif store is not None and session.exporting:
        session.attempt(lambda: _export(session, store))


def _rename(session: Session, store: ChatStore) -> None:
    conversation = store.conversation(session.renaming)
    if conversation is None:
        return

    @st.dialog("Rename chat", on_dismiss=session.close_dialog)
    def rename() -> None:
        with st.form("rename", border=False):
            title = st.text_input("Title", value=conversation.title, max_chars=200)
            if st.form_submit_button("Save", type="primary"):
                session.attempt(lambda: store.rename(conversation.id, title))
                session.close_dialog()
                st.rerun()

    rename()


def _export(session: Session, store: ChatStore) -> None:
    chat_id = session.exporting

    @st.dialog("Save this chat", on_dismiss=session.close_dialog)
    def export() -> None:
        session.attempt(lambda: draw_export(store, chat_id))

    export()


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


def _zone() -> tzinfo | None:
    """Return the browser's time zone, else this machine's."""
    try:
        return ZoneInfo(st.context.timezone or "")
    except (ValueError, OSError, KeyError):
        return datetime.now().astimezone().tzinfo
