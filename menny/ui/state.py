"""What a browser tab's session keeps between two runs of the page."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from menny.catalogue import ModelSpec
from menny.chat import Chat
from menny.loading import Place, Tuned
from menny.messages import is_blank
from menny.ui.engines import shared_engine
from menny.ui.run import Order, Run

KEY = "menny"
MESSAGE = "message"  # the key of the chat input


@dataclass(slots=True, eq=False)
class Session:
    """A plain object, so that it can be read where Streamlit's own state raises: while a run is being stopped."""

    chat: Chat = field(default_factory=Chat)
    run: Run | None = None
    pending: str = ""  # a suggestion that was clicked: the next run sends it
    notice: str = ""  # why the last message came back
    own_models: list[ModelSpec] = field(default_factory=list)
    model_problem: str = ""  # why the last model of the user's own can't be used
    pages: Mapping[str, Page] = field(default_factory=dict)  # where one can go: chat, personas

    served: dict[str, int | None] = field(default_factory=dict)  # what a server that is being added has
    wishes: dict[str, str] = field(default_factory=dict)  # what another page wants chosen in the chat's sidebar
    told: str = ""  # what the page of models has done
    faults: dict[str, str] = field(default_factory=dict)  # why it couldn't, by button
    tuned: dict[str, Tuned] = field(default_factory=dict)  # how a model is to be loaded, by its id

    @classmethod
    def current(cls) -> "Session":
        if KEY not in st.session_state:
            st.session_state[KEY] = cls()
        session = st.session_state[KEY]
        assert isinstance(session, cls)  # noqa: S101 - nobody else writes this key
        return session

    def place_of(self, spec: ModelSpec) -> Place | None:
        """What an engine for a model is made of, as this session wants it; None where the model isn't here."""
        place, tuned = spec.target(), self.tuned.get(spec.id)
        return replace(tuned, path=place) if tuned and isinstance(place, Path) else place

    @property
    def is_answering(self) -> bool:
        return self.run is not None and not self.run.is_over

    def next_message(self, typed: str | None) -> str:
        """What is to be sent now: what was typed, or a clicked suggestion; while a reply is ending, it waits."""
        self.pending = typed or self.pending
        if self.is_answering:
            return ""
        text, self.pending = self.pending, ""
        return text

    def send(self, text: str, persona: str, model: str, order: Order) -> None:
        """Take a message into the conversation and have it answered; a blank one is nothing."""
        if is_blank(text):
            return
        self.notice = ""
        turn = self.chat.begin(text, persona, model)
        self.run = Run(self.chat, turn, order, shared_engine()).start()

    def settle(self) -> None:
        """Once a reply is over: a message that was refused goes back into the box, with the reason above it."""
        if self.run is None or not self.run.is_over:
            return
        if self.run.refusal:
            self.notice = self.run.refusal
            st.session_state[MESSAGE] = self.run.turn.text
        self.run = None

    def stop(self) -> None:
        """End the reply that is under way, if there is one; what was said stays."""
        if self.run is not None:
            self.run.cancel()

    def start_anew(self) -> None:
        """An empty conversation; a reply under way ends."""
        self.stop()
        self.chat, self.run, self.notice, self.pending = Chat(), None, "", ""


def set_default(values: Mapping[str, object]) -> None:
    """Give widgets their first values, leaving those that a user has set."""
    for key, value in values.items():
        st.session_state.setdefault(key, value)
