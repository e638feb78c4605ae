"""What a model thinks, folded above its answer: growing while it thinks, with its time once it answers."""

import time

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from menny.chat import Reply
from menny.storage import MessageNode
from menny.ui.safe_markdown import draw_markdown

DRAW_EVERY = 0.4  # seconds: a thought is long, and mostly not read
HEIGHT = 220  # pixels of a growing thought, which scrolls
ICON = ":material/lightbulb:"
THINKING = "Thinking …"


def draw_thought(entry: MessageNode) -> None:
    """Draw a reply's thought; nothing where it has none."""
    slot = st.empty()  # as a growing one has it, so that an open one stays open
    if not entry.thought:
        return
    is_growing = entry.status == "growing" and not entry.text
    label = THINKING if is_growing else title_of(entry.stats.thought_seconds)
    with slot.container(key=key_of(entry.id)), st.empty().container(), st.expander(label, icon=ICON, type="compact"):
        draw_markdown(entry.thought)


class GrowingThought:
    """The thought of a reply that is being written: open while the model thinks, folded when it answers."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._slot, self._button = st.empty(), st.empty()
        self._frame: DeltaGenerator | None = None  # within the slot: a key can be drawn once in a run
        self._text: DeltaGenerator | None = None  # where the thought is drawn, once there is one
        self._is_open = True
        self._shown = ""
        self._due = 0.0

    def draw(self) -> None:
        """Draw what has come since the last call."""
        reply = self._reply
        if not reply.thought:
            return
        is_open = reply.is_thinking and not reply.text
        if self._text is None or is_open != self._is_open:
            self._text, self._shown, self._is_open = self._draw_frame(is_open), "", is_open
        if reply.thought != self._shown and (time.monotonic() >= self._due or not is_open):
            self._shown, self._due = reply.thought, time.monotonic() + DRAW_EVERY
            draw_markdown(self._shown, place=self._text)

    def _draw_frame(self, is_open: bool) -> DeltaGenerator:
        """Draw what is around the thought; return the place of its text."""
        label = THINKING if is_open else title_of(self._reply.thought_seconds)
        if self._frame is None:
            with self._slot.container(key=key_of(self._reply.id)):
                self._frame = st.empty()
        with (
            self._frame.container(),
            st.expander(label, icon=ICON, type="compact", expanded=is_open),
            st.container(height=HEIGHT if is_open else "content", border=False, autoscroll=True),
        ):
            text = st.empty()
        if not is_open:
            self._button.empty()
            return text
        self._button.button(
            "Answer now",
            key=f"answer-now-{self._reply.id}",
            icon=":material/fast_forward:",
            type="tertiary",
            on_click=self._reply.answer_now,
            help="Stop thinking and answer now.",
        )
        return text


def key_of(entry_id: str) -> str:
    """The key of a thought's frame."""
    return f"thought-{entry_id}".replace("_", ".")


def title_of(seconds: float) -> str:
    """Return the title of a thought that is over; its time isn't known where it comes from elsewhere."""
    return f"Thought for {duration(seconds)}" if seconds > 0 else "Thought"


def duration(seconds: float) -> str:
    """Return a time in words: 12 s, 2 min 5 s."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    return " ".join([*([f"{minutes} min"] if minutes else []), *([f"{rest} s"] if rest else [])])
