"""The dialog with what a persona remembers of the user: each fact with its source, to be edited or forgotten."""

from collections.abc import Mapping

import streamlit as st

from menny.errors import StorageError
from menny.personas.persona import Persona
from menny.storage import ChatStore, Conversation, Fact
from menny.storage.facts import LONGEST
from menny.text import excerpt
from menny.ui.chat.reveal import reveal, target
from menny.ui.chat.undo import draw_undo
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, Undo
from menny.ui.shared.options import read_options
from menny.ui.shared.widget_values import show
from menny.ui.sidebar.facts_panel import draw_remembering

EXCERPT = 60  # characters of a message
LISTED = 30  # of the latest facts; the others on demand
MORE = "facts-listed"


def draw_facts(session: Session, store: ChatStore) -> None:
    """Draw the dialog of the persona whose memory is open."""
    persona = read_options().persona(session.recalling)

    @st.dialog(as_label(f"What {persona.name} remembers"), width="medium", on_dismiss=session.close_dialog)
    def facts() -> None:
        session.attempt(lambda: _draw(session, store, persona))

    facts()


def _draw(session: Session, store: ChatStore, persona: Persona) -> None:
    draw_remembering(session, persona, "remembering-here")
    st.caption("New chats begin with these lines. Older chats keep the lines that they began with.")

    def add() -> None:
        session.attempt(lambda: store.facts.add(persona.id, [st.session_state["new-fact"]]))

    def forget_all() -> None:
        store.facts.forget_all(persona.id)
        session.undo = None  # what it brings back was to be forgotten too

    with st.form("add-fact", clear_on_submit=True, border=False), _row():
        st.text_input(
            "Something to remember",
            max_chars=LONGEST,
            placeholder="Something to remember",
            label_visibility="collapsed",
            key="new-fact",
        )
        st.form_submit_button("Add", type="primary", key="add-fact-now", on_click=add)
    draw_undo(session, "memory")
    facts = store.facts.of(persona.id)[::-1]
    if not facts:
        st.caption(as_label(f"{persona.name} remembers nothing yet."))
        return
    listed = int(st.session_state.get(MORE, LISTED))
    chats = {one: store.conversation(one) for one in {fact.chat for fact in facts[:listed]} if one}
    with st.container(key="facts", gap="xsmall"):
        for fact in facts[:listed]:
            _draw_fact(session, store, fact, chats)
    with st.container(horizontal=True, gap="xsmall"):
        if len(facts) > listed:
            st.button(f"Show all {len(facts):,}", key="more-facts", on_click=_list_all, args=(len(facts),))
        with st.popover("Forget all", icon=":material/delete_forever:", key="ask-forget-all"):
            st.markdown(
                f"Forget {'this line' if len(facts) == 1 else f'all {len(facts):,} lines'}? It can't be undone."
            )
            st.button("Forget all", key="forget-all", type="primary", on_click=session.attempting(forget_all))


def _draw_fact(session: Session, store: ChatStore, fact: Fact, chats: Mapping[str, Conversation | None]) -> None:
    key = f"fact-{fact.id}"
    show({key: fact.text})

    def edit() -> None:
        session.attempt(lambda: store.facts.edit(fact.id, str(st.session_state[key])))

    def forget() -> None:
        store.facts.forget(fact.id)
        session.undo = Undo(
            f"“{excerpt(fact.text, EXCERPT)}” was forgotten.", lambda: store.facts.merge([fact]), "memory"
        )

    with st.container(key=f"fact-row-{fact.id}", gap=None):
        with _row():
            st.text_input("Fact", key=key, max_chars=LONGEST, label_visibility="collapsed", on_change=edit)
            st.button(
                as_label(f"Forget “{fact.text}”"),
                key=f"drop-fact-{fact.id}",
                icon=":material/close:",
                help="Forget",
                on_click=session.attempting(forget),
            )
        _draw_source(session, store, fact, chats.get(fact.chat))


def _draw_source(session: Session, store: ChatStore, fact: Fact, chat: Conversation | None) -> None:
    """Draw the message that a fact comes from, as a button that leads to it."""
    if chat is None or chat.deleted:
        st.caption("From a chat that is no longer here" if fact.chat else "Written by you")
        return
    with target(fact.message, fact.id):
        label = as_label(f"From “{_beginning(store, fact) or chat.title}”")
        if st.button(label, key=f"source-{fact.id}", icon=":material/forum:", type="tertiary"):
            session.close_dialog()
            reveal(session, fact.chat, fact.message)
            session.leave()  # the switch clears the address, which isn't a wish for a new chat
            st.switch_page(session.pages["chat"])


def _beginning(store: ChatStore, fact: Fact) -> str:
    """The beginning of a fact's message; empty where that is gone."""
    try:
        text = store.entry(fact.message).text if fact.message else ""
    except StorageError:
        return ""
    return excerpt(" ".join(text[: 4 * EXCERPT].split()), EXCERPT)


def _row() -> "st.delta_generator.DeltaGenerator":
    return st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False)


def _list_all(number: int) -> None:
    st.session_state[MORE] = number
