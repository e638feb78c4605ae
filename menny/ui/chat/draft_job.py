"""The draft of the user's next message: written by the model on a thread, and opened above the box to be edited."""

import logging
import threading
from contextlib import suppress

import streamlit as st

from menny.chat import Chat, ReplySettings
from menny.chat.drafting import draft_message
from menny.errors import MennyError
from menny.models.loader import ModelSource
from menny.ui.chat.dialog_clicks import attend_to_dialog
from menny.ui.chat.unsent import Unsent, add_unsent
from menny.ui.session import Session
from menny.ui.shared.feedback import ABOVE_BOX
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine, shared_engine
from menny.ui.sidebar.choices import Choices

DRAW_EVERY = 0.2  # seconds

logger = logging.getLogger(__name__)


class DraftJob:
    """A thread that borrows the engine and drafts one message."""

    def __init__(
        self, chat: Chat, persona: str, source: ModelSource, settings: ReplySettings, engines: SharedEngine
    ) -> None:
        self.chat = chat
        self.text = self.error = ""
        self._ask = (persona, source, settings)
        self._engines = engines
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._write, name="menny-draft", daemon=True)

    def start(self) -> "DraftJob":
        self._thread.start()
        return self

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """End it soon; nothing of it is kept."""
        self._cancelled.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for its end, at most this long."""
        self._thread.join(seconds)

    def _write(self) -> None:
        persona, source, settings = self._ask
        is_cancelled = self._cancelled.is_set
        try:
            with suppress(LoanCancelled), self._engines.borrow(source, lambda _: None, is_cancelled) as engine:
                self.text = draft_message(self.chat, persona, engine, settings, is_cancelled)
                self.error = "" if self.text or is_cancelled() else "The model wrote nothing. Try again, or type it."
        except MennyError as error:
            self.error = str(error)
        except Exception as error:
            logger.exception("A draft failed")
            self.error = f"Something went wrong inside Menny ({type(error).__name__}). Try again."


def draw_draft_button(session: Session, choices: Choices) -> None:
    """Draw the button that begins a draft, once there is a reply to answer."""
    entries = session.chat.entries
    if not entries or entries[-1].role != "assistant" or session.job or session.drafting or not choices.can_answer:
        st.empty()  # so that what follows keeps its place: else it would be there twice while a reply is written
        return

    def begin() -> None:
        if choices.source:
            settings, persona = choices.settings, choices.persona.name
            session.drafting = DraftJob(session.chat, persona, choices.source, settings, shared_engine()).start()

    st.button(
        "Write my message",
        key="draft",
        icon=":material/ink_pen:",
        type="tertiary",
        on_click=begin,
        help="The model drafts your next message. You can change it before you send it.",
    )


def draw_draft_status(session: Session) -> None:
    """Draw that a draft is being written, with a button to stop it."""
    if session.drafting and session.drafting.chat is session.chat and not session.job:
        st.caption(":shimmer[Writing a draft of your message …]")
        st.button("Stop", key="stop", icon=":material/stop_circle:", on_click=session.drafting.cancel, help="Esc")


def follow_draft(session: Session) -> None:
    """Wait for the draft of the open chat, and open it above the box; a reply under way ends it, or another chat."""
    job = session.drafting
    if job is None:
        return
    if job.chat is not session.chat or session.job:
        job.cancel()
        session.drafting = None
        return
    place = st.empty()
    while not job.is_over:
        place.empty()  # so that Streamlit can stop the page here
        attend_to_dialog()
        job.join(DRAW_EVERY)
    session.drafting = None
    if job.error:
        session.feedback.error(ABOVE_BOX, job.error)
    elif job.text:
        with session.feedback.attempt(ABOVE_BOX):
            session.editing = add_unsent(session.chat, Unsent(job.text, is_held=True), first=True).id
    st.rerun()
