"""The list above the message box: messages that wait for the reply under way, or for a change."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from menny.attachments import MOST_ATTACHMENTS, Attachment
from menny.chat import Chat
from menny.documents import read_document
from menny.errors import DocumentError
from menny.ui.chat.editor import draw_editor
from menny.ui.chat.message_bar import Bar, message_bar
from menny.ui.chat.sending import Sending
from menny.ui.chat.unsent import Unsent, add_unsent, change_unsent, put_unsent, remove_unsent, unsent_of
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, Undo
from menny.ui.shared.feedback import ABOVE_BOX

LONGEST_LINE = 200  # characters that are shown of a message


def draw_unsent(session: Session) -> None:
    """Draw the messages that aren't sent yet, each to be edited, sent or removed.

    The one that is being edited comes first, so that it stays in its place when others are sent. Rows that have gone
    are emptied at once: else they would stay, faded, until the reply under way ends.
    """
    messages = unsent_of(session.chat)
    edited = next((one for one in messages if one.id == session.editing), None)
    others = [one for one in messages if one is not edited]
    if not messages and not session.unsent_rows:
        st.empty()
        return
    with st.container(key="unsent", gap="xxsmall"):
        if edited is None:
            st.empty()
        else:
            with st.container(key=f"waiting-{edited.id}", gap="xxsmall"):
                _draw_editor(session, edited)
        for message in others:
            with st.container(key=f"waiting-{message.id}", gap="xxsmall"):
                _draw_row(session, message)
        for _ in range(len(others), session.unsent_rows):
            st.empty()
    session.unsent_rows = max(len(others), session.unsent_rows if session.job else 0)  # a run may be cut short


def ask_what_was_typed(session: Session) -> None:
    """Send what was typed into the message box since the last run."""
    while session.typed:
        _ask(session, *session.typed[0])
        session.typed.pop(0)  # only now: another event may end this run while it reads the files


def _ask(session: Session, chat: Chat, text: str, files: Sequence[UploadedFile]) -> None:
    """Send a text with the texts of files; where one can't be read, keep the rest unsent and say why."""
    attachments, refusals = [], []
    with st.spinner("Reading the files …") if files else nullcontext():
        for file in files[:MOST_ATTACHMENTS]:
            try:
                attachments.append(read_document(file.name, file.getvalue()))
            except DocumentError as error:
                refusals.append(str(error))
    if len(files) > MOST_ATTACHMENTS:
        refusals.append(f"A message can have {MOST_ATTACHMENTS} files; the others were left out.")
    if refusals:
        session.feedback.error(ABOVE_BOX, " ".join(refusals))
    if chat is not session.chat:  # another one was opened meanwhile
        session.attempt(lambda: add_unsent(chat, Unsent(text, tuple(attachments), is_held=True)))
    elif refusals:
        session.attempt(lambda: session.give_back(Sending(chat.begin, text, tuple(attachments))))
    else:
        session.attempt(lambda: session.ask(text, attachments))


def _draw_row(session: Session, message: Unsent) -> None:
    def use(name: str, _: str) -> None:
        match name:
            case "send":
                session.ask_unsent(message)
            case "edit":
                session.editing = message.id
            case "remove":
                chat, ids = session.chat, [one.id for one in unsent_of(session.chat)]
                place = ids.index(message.id) if message.id in ids else 0
                remove_unsent(chat, message.id)
                back = partial(put_unsent, chat, message, place)
                session.undo = Undo("The message was removed.", back, chat=chat.id)
                session.feedback.clear(ABOVE_BOX)  # why it couldn't be sent

    state = "Not sent" if message.is_held else "Next"
    icon = "pause_circle" if message.is_held else "schedule"
    tools = [("Edit", "Edit the unsent message"), ("Remove", "Remove the unsent message")]
    if message.is_held:
        tools.insert(0, ("Send", "Send the message"))
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        line = " ".join(message.text.split())[:LONGEST_LINE]
        words = f":material/{icon}: **{state}** {as_label(line)} {_files(message.attachments)}"
        st.markdown(words, wrap=False, width="stretch")
        message_bar(Bar("", "", tools), f"unsent-bar-{message.id}", session.attempting(use))


def _draw_editor(session: Session, message: Unsent) -> None:
    def save(text: str) -> None:
        session.attempt(lambda: session.ask_unsent(replace(message, text=text)))

    def leave() -> None:
        session.editing = ""

    def detach(others: tuple[Attachment, ...]) -> None:
        change_unsent(session.chat, replace(message, attachments=others))
        session.feedback.clear(ABOVE_BOX)  # why it couldn't be sent

    for number, one in enumerate(message.attachments):
        others = (*message.attachments[:number], *message.attachments[number + 1 :])
        st.button(
            as_label(f"Remove {one.name}"),
            key=f"detach-{message.id}-{number}",
            icon=":material/close:",
            on_click=session.attempting(detach),
            args=(others,),
        )
    action = "Save" if session.job else "Send"
    draw_editor(message.id, message.text, "Edit the unsent message", action, save, leave)


def _files(attachments: Sequence[Attachment]) -> str:
    return "".join(f" :material/description: {as_label(one.name)}" for one in attachments)
