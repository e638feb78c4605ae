"""The dialogs about chats: a new title, a folder, an export, the bin, and the question before all is deleted."""

from functools import partial

import streamlit as st

from menny.chat.chat_settings import ChatSettings
from menny.storage import ChatStore, Conversation, title_given
from menny.ui.personas.facts_dialog import draw_facts
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import IMPORT
from menny.ui.shared.shared_engine import forget_chat_caches
from menny.ui.sidebar.chat_files import draw_export


def draw_dialogs(session: Session) -> None:
    """Draw the dialog that is open, if one is."""
    store = session.chats.store
    if store is None:
        return
    if session.renaming:
        session.attempt(lambda: _rename(session, store))
    elif session.moving:
        session.attempt(lambda: _move(session, store))
    elif session.exporting:
        session.attempt(lambda: _export(session, store))
    elif session.recalling:
        session.attempt(lambda: draw_facts(session, store))
    elif session.is_in_bin:
        session.attempt(lambda: _open_bin(session, store))
    elif session.is_deleting_all:
        session.attempt(lambda: _ask_before_all_is_deleted(session, store))


def _leave_if(is_closed: bool) -> None:
    """Take a dialog away that a callback has closed.

    What a button does is done in its callback: a run of the page may be ended by another event before it is drawn.
    """
    if is_closed:
        st.rerun()


def _rename(session: Session, store: ChatStore) -> None:
    conversation = store.conversation(session.renaming)
    if conversation is None:
        return

    def save() -> None:
        title = st.session_state["chat-title"]
        if title_given(title):
            session.attempt(lambda: store.rename(conversation.id, title))
            session.close_dialog()

    @st.dialog("Rename chat", on_dismiss=session.close_dialog)
    def rename() -> None:
        _leave_if(not session.renaming)
        with st.form("rename", border=False):
            title = st.text_input("Title", value=conversation.title, max_chars=200, key="chat-title")
            st.form_submit_button("Save", type="primary", on_click=save)
        if not title_given(title):
            st.error("A chat needs a title that can be read: type one.")

    rename()


def _move(session: Session, store: ChatStore) -> None:
    conversation = store.conversation(session.moving)
    if conversation is None:
        return
    folders = store.folders()
    now = ChatSettings.read(conversation.settings).folder

    def put(is_removed: bool) -> None:
        name = "" if is_removed else " ".join((st.session_state["chat-folder"] or "").split())[:60]
        session.attempt(lambda: store.set_settings(conversation.id, folder=name or None))
        session.close_dialog()

    @st.dialog("Move to folder", on_dismiss=session.close_dialog)
    def move() -> None:
        _leave_if(not session.moving)
        with st.form("move", border=False):
            st.selectbox(
                "Folder",
                folders,
                index=folders.index(now) if now in folders else None,
                accept_new_options=True,
                placeholder="Choose a folder, or type the name of a new one",
                key="chat-folder",
            )
            with st.container(horizontal=True):
                st.form_submit_button("Move", type="primary", on_click=put, args=(False,))
                st.form_submit_button("Remove from folder", disabled=not now, on_click=put, args=(True,))

    move()


def _export(session: Session, store: ChatStore) -> None:
    chat_id = session.exporting

    @st.dialog("Export this chat", on_dismiss=session.close_dialog)
    def export() -> None:
        session.attempt(lambda: draw_export(store, chat_id))

    export()


def _open_bin(session: Session, store: ChatStore) -> None:
    def empty() -> None:
        session.attempt(partial(_purge, store))
        session.undo = None  # what it brings back may be gone
        session.close_dialog()

    @st.dialog("Deleted chats", on_dismiss=session.close_dialog)
    def bin_() -> None:
        _leave_if(not session.is_in_bin)
        deleted = store.deleted_conversations()
        if not deleted:
            st.caption("The bin is empty.")
            return
        st.caption("Deleted chats stay here for 30 days.")
        with st.container(key="bin", gap="xsmall"):
            for conversation in deleted:
                _draw_deleted(session, store, conversation)
        with st.popover("Empty the bin", icon=":material/delete_forever:", key="ask-empty-bin"):
            chats = "the chat in it" if len(deleted) == 1 else f"all {len(deleted):,} chats in it"
            st.markdown(f"Delete {chats} for good? It can't be undone.")
            st.button("Delete for good", key="empty-bin", type="primary", on_click=empty)

    bin_()


def _draw_deleted(session: Session, store: ChatStore, conversation: Conversation) -> None:
    if session.purging == conversation.id:
        _ask_before_it_is_purged(session, store, conversation)
        return

    def ask() -> None:
        session.purging = conversation.id

    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        st.markdown(as_label(conversation.title) or "…", width="stretch", wrap=False)
        st.button(
            "Restore",
            key=f"restore-{conversation.id}",
            help=as_label(f"Restore {conversation.title}"),
            on_click=partial(_restore, session, store, conversation),
        )
        st.button(
            "",
            icon=":material/delete_forever:",
            key=f"ask-purge-{conversation.id}",
            help="Delete for good",
            on_click=ask,
        )


def _ask_before_it_is_purged(session: Session, store: ChatStore, conversation: Conversation) -> None:
    def keep() -> None:
        session.purging = ""

    def purge() -> None:
        session.purging, session.undo = "", None  # what it brings back may be this chat
        session.attempt(lambda: _purge(store, conversation.id))

    st.markdown(as_label(f"Delete “{conversation.title}” for good? It can't be undone."))
    with st.container(horizontal=True, gap="xsmall"):
        st.button("Delete for good", key=f"purge-{conversation.id}", type="primary", on_click=purge)
        st.button("Cancel", key=f"keep-{conversation.id}", on_click=keep)


def _purge(store: ChatStore, conversation_id: str = "") -> None:
    """Remove a deleted chat for good, or all of them, with what an engine has kept of it."""
    store.purge(conversation_id)
    forget_chat_caches()


def _restore(session: Session, store: ChatStore, conversation: Conversation) -> None:
    session.attempt(lambda: store.undelete(conversation.id, is_touched=True))
    session.open(conversation.id)
    session.close_dialog()


def _ask_before_all_is_deleted(session: Session, store: ChatStore) -> None:
    number = len(store.conversations())
    chats = f"deletes {'the only chat' if number == 1 else f'all {number:,} chats'}, " if number else ""

    def delete() -> None:
        session.attempt(partial(_delete_all, session, store))
        session.close_dialog()

    @st.dialog("Delete everything?", on_dismiss=session.close_dialog)
    def ask() -> None:
        _leave_if(not session.is_deleting_all)
        st.markdown(f"This {chats}empties the bin and makes personas forget you. It can't be undone.")
        st.caption("Personas, models and settings stay. To keep a copy, choose “Save everything” first.")
        with st.container(horizontal=True):
            st.button("Delete everything", type="primary", key="delete-all-now", on_click=delete)
            st.button("Cancel", key="keep-all", on_click=session.close_dialog)

    ask()


def _delete_all(session: Session, store: ChatStore) -> None:
    for conversation in store.conversations():
        session.chats.abandon(conversation.id)
    store.purge_everything()
    forget_chat_caches()
    session.undo = None
    session.open("")
    session.feedback.notice(IMPORT, "All chats were deleted.")
