"""What a browser tab's session keeps between two runs of the page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec

import streamlit as st
from streamlit.navigation.page import Page

from menny.chat import Chat, Reply, ReplySettings
from menny.errors import MennyError, StorageError
from menny.models.catalogue import ModelSpec
from menny.models.loader import AS_FITS, LoadOptions, ModelSource, source_of
from menny.personas.persona import Persona
from menny.ui.chat.chats import Chats, shared_chats
from menny.ui.chat.reply_job import ReplyJob

KEY = "menny"
MESSAGE = "message"  # the key of the chat input
CHAT = "chat"  # the open chat's place in the address
ENTRIES_SHOWN = 40

P = ParamSpec("P")
Opening = Callable[[str, str], Reply]  # makes a reply by a persona and a model, which has yet to be answered


@dataclass(frozen=True, slots=True)
class Undo:
    """What was deleted last, and how it comes back."""

    what: str
    bring_back: Callable[[], object]


@dataclass(slots=True, eq=False)
class Session:
    """A plain object, so that it can be read where Streamlit's own state raises: while a run is being stopped."""

    chats: Chats
    chat: Chat
    sent: ReplyJob | None = None  # the reply that this session asked for last, until it is over
    pending: Opening | None = None  # what the next run sends
    notice: str = ""  # why something that was asked for didn't happen
    undo: Undo | None = None
    editing: str = ""  # the question that is being edited
    renaming: str = ""  # the chat whose title is
    exporting: str = ""  # the chat that is to be saved
    imported: str = ""  # what came of the last import
    import_problem: str = ""
    greetings: dict[str, str] = field(default_factory=dict)  # which greeting is looked at, by persona
    shown: int = ENTRIES_SHOWN  # how many of the latest entries are drawn
    address: str | None = None  # the chat in the address as it was seen last; None before, and after another page
    is_to_adopt: bool = False  # whether persona and model are still to be those of the chat that was opened
    watched: ReplyJob | None = None  # the reply that was under way when the page was drawn
    drawn: tuple[int, int] = (0, 0)  # the revision that it shows
    model: ModelSpec | None = None  # chosen last, which may have been removed since
    persona: Persona | None = None  # so may this
    own_models: list[ModelSpec] = field(default_factory=list)
    model_problem: str = ""  # why the last model of the user's own can't be used
    pages: Mapping[str, Page] = field(default_factory=dict)  # where one can go: chat, personas

    served: dict[str, int | None] = field(default_factory=dict)  # what a server that is being added has
    wishes: dict[str, str] = field(default_factory=dict)  # what another page wants chosen in the chat's sidebar
    told: str = ""  # what the page of models has done
    faults: dict[str, str] = field(default_factory=dict)  # why it couldn't, by button
    tuned: dict[str, LoadOptions] = field(default_factory=dict)  # how a model is to be loaded, by its id

    @classmethod
    def current(cls) -> "Session":
        if KEY not in st.session_state:
            st.session_state[KEY] = cls(shared_chats(), shared_chats().new())
        session = st.session_state[KEY]
        assert isinstance(session, cls)  # noqa: S101 - nobody else writes this key
        return session

    def place_of(self, spec: ModelSpec) -> ModelSource | None:
        """What an engine for a model is made of, as this session wants it; None where the model isn't here."""
        return source_of(spec, self.tuned.get(spec.id, AS_FITS))

    # Where we are

    @property
    def job(self) -> ReplyJob | None:
        """The reply under way in the open chat, whoever asked for it."""
        return self.chats.job_of(self.chat.id)

    @property
    def is_stale(self) -> bool:
        """Whether the page shows something else than what there is."""
        if self.watched is not None:
            return self.watched.is_over
        return self.job is not None or self.chat.revision != self.drawn

    def open(self, chat_id: str) -> None:
        """Go to a chat; to a new one where the id is empty, or nothing is there."""
        chat, self.notice = None, ""
        if chat_id:
            try:
                chat = self.chats.find(chat_id)
            except StorageError as error:
                self.notice = str(error)
            else:
                self.notice = "" if chat else "There is no such chat, or it was deleted."
        self.chat = chat or self.chats.new()
        self.pending, self.editing, self.shown = None, "", ENTRIES_SHOWN
        self.is_to_adopt = chat is not None

    def follow_address(self) -> None:
        """Open the chat in the address where that has changed: by a reload, a link, or the browser's back button."""
        asked = st.query_params.get(CHAT, "")
        if asked != self.address and (asked or self.address is not None) and asked != self.chat.id:
            self.open(asked)
        self.address = asked

    def show_address(self) -> None:
        """Put the open chat into the address, once something was said in it."""
        here = self.chat.id if self.chat.entries else ""
        if here != self.address:
            if here:
                st.query_params[CHAT] = here
            else:
                st.query_params.pop(CHAT, None)
            self.address = here

    def leave(self) -> None:
        """Another page is shown, which has an address of its own."""
        self.address = None

    def attempt(self, change: Callable[[], object]) -> None:
        """Change something in the store; where that can't be, the page says why."""
        try:
            change()
        except StorageError as error:
            self.notice = str(error)

    def attempting(self, change: Callable[P, object]) -> Callable[P, None]:
        """A callback that attempts a change."""
        return lambda *args, **named: self.attempt(partial(change, *args, **named))

    def close_dialog(self) -> None:
        self.renaming = self.exporting = ""

    # Talking

    def ask(self, text: str) -> None:
        """Have a text sent by the next run of the page."""
        self.pending = partial(self.chat.begin, text)

    def edit(self, question_id: str, text: str) -> None:
        self.pending, self.editing = partial(self.chat.edit, question_id, text), ""

    def regenerate(self, entry_id: str) -> None:
        self.pending = partial(self.chat.regenerate, entry_id)

    def resume(self, reply_id: str) -> None:
        chat = self.chat
        self.pending = lambda persona, model: chat.resume(reply_id)  # noqa: ARG005 - it goes on as who began it

    def send(self, persona: str, model: str, model_name: str, source: ModelSource, settings: ReplySettings) -> bool:
        """Have what is pending answered, unless a reply is under way; tells whether it is."""
        if self.pending is None or self.job is not None:
            return False
        opening, self.pending, self.notice, self.undo = self.pending, None, "", None
        try:
            reply = opening(persona, model)
        except MennyError as error:
            self.notice = str(error)
            return False
        self.sent = self.chats.answer(self.chat, reply, model_name, source, settings)
        return True

    def settle(self) -> None:
        """Once a reply is over: a message that was refused goes back into the box, with the reason above it."""
        if self.sent is None or not self.sent.is_over:
            return
        if self.sent.reply.refusal:
            self.notice = self.sent.reply.refusal
            if self.sent.reply.typed:
                st.session_state[MESSAGE] = self.sent.reply.typed
        self.sent = None

    def stop(self) -> None:
        """End the reply that is under way, if there is one; what was said stays."""
        if job := self.job:
            job.cancel()

    # Deleting

    def delete(self, entry_id: str) -> None:
        """Delete a message and what follows it; a reply under way that is part of it is cancelled."""
        chat, job = self.chat, self.job
        is_being_written = job is not None and chat.is_within(job.reply.id, entry_id)
        shown = [entry.id for entry in chat.entries]
        gone = len(shown) - shown.index(entry_id) if entry_id in shown else 1  # an alternative may take their place
        chat.delete(entry_id)
        if is_being_written:
            self.chats.abandon(chat.id)
            self.sent = None if self.sent is job else self.sent
        what = "The message was deleted." if gone == 1 else f"{gone} messages were deleted."
        self.undo = Undo(what, partial(chat.restore, entry_id))

    def take_back(self) -> None:
        """Bring back what was deleted last."""
        if self.undo is not None:
            self.attempt(self.undo.bring_back)
            self.undo = None


def set_default(values: Mapping[str, object]) -> None:
    """Give widgets their first values, leaving those that a user has set."""
    for key, value in values.items():
        st.session_state.setdefault(key, value)
