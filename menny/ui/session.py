"""The state of a browser tab between two runs of the page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import streamlit as st
from streamlit.navigation.page import Page
from streamlit.runtime.uploaded_file_manager import UploadedFile

from menny.attachments import Attachment
from menny.chat import Chat, Reply, ReplySettings
from menny.chat.chat_settings import MEMORY, SAMPLING, THINKING, ChatSettings
from menny.errors import MennyError, StorageError
from menny.models.catalogue import ModelSpec
from menny.models.loader import AS_FITS, LoadOptions, ModelSource, source_of
from menny.personas.persona import Persona
from menny.text import is_blank
from menny.ui.chat.chats import Chats, shared_chats
from menny.ui.chat.remembering import forget_refused, note_asked, telling
from menny.ui.chat.reply_job import ReplyJob
from menny.ui.chat.sending import Sending
from menny.ui.chat.unsent import Unsent, add_unsent, change_unsent, hold_unsent, remove_unsent, unsent_of
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.feedback import ABOVE_BOX, Feedback
from menny.ui.shared.you import settled

if TYPE_CHECKING:
    from menny.ui.chat.draft_job import DraftJob
    from menny.ui.models.add import ServerForm

KEY = "menny"
MESSAGE = "message"  # the key of the message box
ENTRIES_SHOWN = 30

P = ParamSpec("P")

UndoPlace = Literal["box", "sidebar", "memory"]  # above the message box, in the sidebar, in a persona's memory


@dataclass(frozen=True, slots=True)
class Undo:
    """The last deletion: a sentence to show, the way back, and where both are shown."""

    sentence: str
    bring_back: Callable[[], object]
    place: UndoPlace = "box"
    chat: str = ""  # the id of the chat that it is shown in; every one where that is empty


@dataclass(slots=True, eq=False)
class Session:
    """The state of a tab: a plain object, as Streamlit's own state can't be read while a run is being stopped."""

    chats: Chats
    chat: Chat
    feedback: Feedback = field(default_factory=Feedback)
    pages: Mapping[str, Page] = field(default_factory=dict)  # by name: chat, personas, models

    # The reply
    typed: list[tuple[Chat, str, Sequence[UploadedFile]]] = field(default_factory=list)  # what the next run reads
    pending: Sending | None = None  # what the next run sends
    sent: ReplyJob | None = None  # the reply that this tab sent last, until it is over
    sending: Sending | None = None  # what that was made of
    undo: Undo | None = None
    drafting: "DraftJob | None" = None  # of the user's next message

    # What is shown
    tab: str = ""  # the tab of the sidebar that is open
    unfolded: set[str] = field(default_factory=set)  # the keys of the folds of the sidebar that are open
    shown: int = ENTRIES_SHOWN  # the number of latest messages that are drawn
    editing: str = ""  # the id of the message that is being edited
    edited: str = ""  # a text for that, in place of the message's own
    unsent_rows: int = 0  # the number of unsent messages that are on the page
    reading: tuple[str, int] | None = None  # the message whose file is open, and the number of the file
    renaming: str = ""  # the id of the chat whose title is being edited
    moving: str = ""  # the id of the chat that is being put into a folder
    is_in_bin: bool = False  # whether the bin is open
    purging: str = ""  # the id of the chat in it that is asked about, before it is deleted for good
    is_deleting_all: bool = False  # whether the question before all is deleted is open
    recalling: str = ""  # the id of the persona whose memory is open
    reviewing: str = ""  # the id of the reply whose prompt is open
    exporting: str = ""  # the id of the chat that is being saved
    greetings: dict[str, int] = field(default_factory=dict)  # the number of the greeting that is shown, by persona
    address: str | None = None  # the chat in the address as last seen; None at first, and after another page
    is_just_opened: bool = False  # until it is known whether the model of an opened chat is here
    stand_in: str = ""  # the id of the model that answers in an opened chat whose own isn't here

    # What is chosen
    model: ModelSpec | None = None  # the last choice, which may have been removed since
    persona: Persona | None = None  # likewise
    own_models: list[ModelSpec] = field(default_factory=list)
    load_options: dict[str, LoadOptions] = field(default_factory=dict)  # by model id
    served: dict[str, int | None] = field(default_factory=dict)  # the models of a server that is being added
    served_to: "ServerForm | None" = None  # the form that it was connected to with
    requested_model: str = ""  # the id that another page wants chosen in the sidebar

    @classmethod
    def current(cls) -> "Session":
        if KEY not in st.session_state:
            st.session_state[KEY] = cls(shared_chats(), shared_chats().new())
        session = st.session_state[KEY]
        assert isinstance(session, cls)  # noqa: S101 - nobody else writes this key
        return session

    def place_of(self, spec: ModelSpec) -> ModelSource | None:
        """Return what an engine is made of, with this tab's options; None where the model isn't here."""
        return source_of(spec, self.load_options.get(spec.id, AS_FITS))

    # Which chat is open

    @property
    def job(self) -> ReplyJob | None:
        """The reply under way in the open chat, sent by this tab or another."""
        return self.chats.job_of(self.chat.id)

    def open(self, chat_id: str) -> None:
        """Open a chat; a new one where the id is empty or unknown."""
        chat = None
        self.feedback.clear(ABOVE_BOX)
        if self.pending and not self.chat.is_deleted:
            self.attempt(partial(self.give_back, self.pending))
        if self.chat.is_temporary:
            self.chats.abandon(self.chat.id)
        if chat_id:
            try:
                chat = self.chats.find(chat_id)
            except StorageError as error:
                self.feedback.error(ABOVE_BOX, str(error))
            else:
                if chat is None:
                    self.feedback.error(ABOVE_BOX, "There is no such chat, or it was deleted.")
        self.chat = chat or self.chats.new()
        self.pending, self.editing, self.shown = None, "", ENTRIES_SHOWN
        self.is_just_opened, self.stand_in = chat is not None, ""
        if chat is not None and self.job is None:
            self.attempt(partial(hold_unsent, chat))  # to open a chat is not to send something

    def open_temporary(self) -> None:
        """Open a new chat that is never stored."""
        self.open("")
        self.chat = self.chats.new(is_temporary=True)

    def keep_chat(self) -> None:
        """Make a lasting chat of the temporary one that is open."""
        if self.chats.store:
            self.chat.keep_for_good(self.chats.store)

    def leave(self) -> None:
        """Forget the address, as another page is shown, which has its own."""
        self.address = None

    def attempt(self, change: Callable[[], object]) -> None:
        """Change something in the store, or show why that failed."""
        try:
            change()
        except StorageError as error:
            self.feedback.error(ABOVE_BOX, str(error))

    def attempting(self, change: Callable[P, object]) -> Callable[P, None]:
        """Return a callback that attempts a change."""
        return lambda *args, **named: self.attempt(partial(change, *args, **named))

    # What is chosen for the open chat

    @property
    def chosen(self) -> ChatSettings:
        """The settings of the open chat."""
        return settled(ChatSettings.read(self.chat.settings), self.chat)

    def choose(self, **settings: Any) -> None:
        """Keep settings of the open chat; None removes one."""
        self.attempt(lambda: self.chat.set_settings(**settings))

    def choose_persona(self, persona_id: str) -> None:
        """Let a persona answer in the open chat, by its own parameters and memory."""
        if persona_id != self.chosen.persona:
            self.choose(persona=persona_id, **dict.fromkeys((*SAMPLING, *MEMORY, *THINKING)))

    def choose_model(self, model_id: str) -> None:
        """Let a model answer in the open chat."""
        self.stand_in = ""
        if model_id != self.chosen.model:
            self.choose(model=model_id)

    def set_app(self, **settings: Any) -> None:
        """Set keys of settings.yaml, for all chats; None removes one."""
        with self.feedback.attempt(ABOVE_BOX):
            shared_settings().change(**settings)

    def close_dialog(self) -> None:
        self.renaming = self.moving = self.exporting = self.recalling = self.reviewing = ""
        self.is_in_bin = self.is_deleting_all = False
        self.purging, self.reading = "", None
        if self.undo and self.undo.place == "memory":
            self.undo = None

    # Sending

    def keep_typed(self) -> None:
        """Keep what was sent in the message box: a callback is done before another event can end the page's run."""
        typed = st.session_state[MESSAGE]
        self.typed.append((self.chat, typed.text, typed.files))

    def ask(self, text: str, attachments: Sequence[Attachment] = ()) -> None:
        """Have a message sent by the next run of the page; while a reply is under way it waits for its end."""
        message = Unsent(text, tuple(attachments))
        if self.job is None:
            self.pending = self._sending_of(message)
        else:
            add_unsent(self.chat, message)

    def ask_unsent(self, message: Unsent) -> None:
        """Send a message of the queue now, or after the reply under way."""
        self.editing = ""
        if self.job is None:
            self.pending = self._sending_of(message)
        change_unsent(self.chat, replace(message, is_held=False))

    def _sending_of(self, message: Unsent) -> Sending:
        chat = self.chat

        def begin(persona: str, model: str) -> Reply:
            if (self.chosen.persona, self.chosen.model) != (persona, model):
                self.choose(persona=persona, model=model)  # it goes on with them, whatever later chats begin with
            return chat.begin(message.text, persona, model, message.attachments)

        return Sending(begin, message.text, message.attachments, queued=message.id)

    def edit(self, question_id: str, text: str) -> None:
        """Send another text in place of a question; a reply under way is stopped."""
        self._interrupt()
        self.pending, self.editing = Sending(partial(self.chat.edit, question_id, text), text, edits=question_id), ""

    def rewrite(self, reply_id: str, text: str) -> None:
        """Replace a reply's text."""
        self.editing = ""
        with self.feedback.attempt(ABOVE_BOX):
            self.chat.rewrite(reply_id, text)

    def regenerate(self, entry_id: str, persona: str = "", model: str = "") -> None:
        """Have a question answered again, by another persona or model if one is given; a reply under way is stopped."""
        self._interrupt()
        self.pending = Sending(partial(self.chat.regenerate, entry_id), persona=persona, model=model)

    def resume(self, reply_id: str, persona: str = "", model: str = "") -> None:
        """Have a reply continued, as the persona and by the model that began it; one under way is stopped."""
        self._interrupt()
        chat = self.chat
        self.pending = Sending(lambda *_: chat.resume(reply_id), persona=persona, model=model)

    def _interrupt(self) -> None:
        """Stop the reply under way, which keeps its text, so that what was clicked on comes next."""
        job = self.job
        self.chats.abandon(self.chat.id)
        self.sent = None if self.sent is job else self.sent

    def send(self, persona: str, model: str, model_name: str, source: ModelSource, settings: ReplySettings) -> bool:
        """Send what was asked for, or the next of the queue, unless a reply is under way; return whether it did."""
        with self.chats.guard:  # another tab may be about to send the same
            if self.job is not None or (sending := self.pending or self._next_unsent()) is None:
                return False
            self.pending, self.undo = None, None
            self.feedback.clear(ABOVE_BOX)
            settings = telling(self.chats.store, self.chat, persona, settings)
            try:
                reply = sending.open(persona, model)
            except MennyError as error:
                self.feedback.error(ABOVE_BOX, str(error))
                self.give_back(sending)
                return False
            self.attempt(lambda: note_asked(self.chats.store, self.chat, persona, reply))
            self.sent = self.chats.answer(self.chat, reply, model_name, source, settings, persona)
            self.sending = sending
            if sending.queued:
                remove_unsent(self.chat, sending.queued)
        return True

    def _next_unsent(self) -> Sending | None:
        """The next message of the queue; after a reply that failed, they are held, and none is."""
        waiting = [one for one in unsent_of(self.chat) if not one.is_held and one.id != self.editing]
        last = self.chat.entries[-1] if self.chat.entries else None
        if waiting and last and (last.error or last.status == "interrupted"):
            hold_unsent(self.chat)
            return None
        return self._sending_of(waiting[0]) if waiting else None

    def settle(self) -> None:
        """Open a refused message for a change, with the reason above it, once its reply is over."""
        if self.sent is None or not self.sent.is_over:
            return
        if self.sent.reply.refusal:
            refused = self.sent.reply
            self.attempt(lambda: forget_refused(self.chats.store, refused))
            self.feedback.error(ABOVE_BOX, self.sent.reply.refusal)
            if self.sending:
                self.give_back(self.sending)
        self.sent = self.sending = None

    def give_back(self, sending: Sending) -> None:
        """Open a text that couldn't be sent for a change: where it was edited, or as the next message of the queue."""
        if sending.edits:
            self.editing, self.edited = sending.edits, sending.text
        elif sending.queued in [one.id for one in unsent_of(self.chat)]:
            hold_unsent(self.chat)
            self.editing = sending.queued
        elif sending.attachments or not is_blank(sending.text):
            hold_unsent(self.chat)
            message = Unsent(sending.text, sending.attachments, is_held=True)
            self.editing = add_unsent(self.chat, message, first=True).id

    def stop(self) -> None:
        """Cancel the reply under way, if there is one; its text so far is kept."""
        if job := self.job:
            job.cancel()

    def branch(self, entry_id: str) -> None:
        """Open a new chat that is a copy of this one up to a message."""
        self.open(self.chat.copy(entry_id))

    # Deleting

    def delete(self, entry_id: str) -> None:
        """Delete a message and what follows it; a reply under way that is part of it is cancelled."""
        chat, job = self.chat, self.job
        is_being_written = job is not None and chat.is_within(job.reply.id, entry_id)
        shown = [entry.id for entry in chat.entries]
        gone = len(shown) - shown.index(entry_id) if entry_id in shown else 1  # before a version takes their place
        chat.delete(entry_id)
        if is_being_written:
            self.chats.abandon(chat.id)
            self.sent = None if self.sent is job else self.sent
        sentence = "The message was deleted." if gone == 1 else f"{gone} messages were deleted."
        self.undo = Undo(sentence, partial(chat.restore, entry_id), chat=chat.id)

    def undo_deletion(self) -> None:
        """Undo the last deletion."""
        if self.undo is not None:
            self.attempt(self.undo.bring_back)
            self.undo = None
