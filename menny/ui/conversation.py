"""The conversation on the page: every turn, and the reply that is being written."""

import time
from collections.abc import Mapping

import streamlit as st

from menny.chat import Reply, Turn
from menny.personas import Persona
from menny.ui.copy_button import copy_button
from menny.ui.pictures import avatar_of, human_avatar
from menny.ui.run import Phase, Run, watch
from menny.ui.state import Session
from menny.ui.text import as_label, as_markdown

CURSOR = " ▍"
STATUS_INTERVAL = 0.2  # seconds between two drawings of the line below a growing reply


def draw_conversation(session: Session, personas: Mapping[str, Persona], models: Mapping[str, str]) -> None:
    """Draw all turns; where one is being answered, stay until it is, and draw the page anew."""
    turns = session.chat.turns
    forgotten = _forgotten_turns(turns)
    for number, turn in enumerate(list(turns)):
        if number == forgotten and forgotten:
            st.caption(
                ":material/history: The context is full: from here on up, the model no longer sees what was said.",
                text_alignment="center",
            )
        _draw_user(turn, number)
        _draw_reply(session, turn, number, personas, models)


def _forgotten_turns(turns: list[Turn]) -> int:
    """How many of the oldest turns the latest reply was written without."""
    if not turns:
        return 0
    messages = turns[-1].reply.forgotten
    count = 0
    while messages > 0 and count < len(turns):
        messages -= 1 + bool(turns[count].reply.text)
        count += 1
    return count


def _draw_user(turn: Turn, number: int) -> None:
    with st.container(key=f"user-{number}"), st.chat_message("user", avatar=human_avatar()):
        st.text(turn.text)


def _draw_reply(
    session: Session, turn: Turn, number: int, personas: Mapping[str, Persona], models: Mapping[str, str]
) -> None:
    persona = personas.get(turn.persona)
    name = persona.name if persona else "Menny"
    with st.chat_message(name, avatar=avatar_of(persona) if persona else "assistant"):
        if session.run is not None and session.run.turn is turn:
            _follow(session, session.run, name)
            return
        reply = turn.reply
        if reply.text:
            st.markdown(as_markdown(reply.text), anchors=False)
        if reply.error:
            st.error(as_label(reply.error), icon=":material/error:")
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
            if reply.text:
                copy_button(reply.text, key=f"copy-{number}")
            st.caption(as_label(measures(reply, models.get(turn.model, turn.model))))


def _follow(session: Session, run: Run, name: str) -> None:
    """Show a reply as it grows; the end draws the page anew, so that a finished reply has one way to be drawn."""
    text, status = st.empty(), st.empty()
    _redraw_when_stopped(session)
    shown, status_due = "", 0.0

    def draw() -> None:
        nonlocal shown, status_due
        reply = run.turn.reply
        if reply.text and reply.text != shown:
            shown = reply.text
            text.markdown(as_markdown(shown) + CURSOR, anchors=False)
        if time.monotonic() >= status_due:
            status_due = time.monotonic() + STATUS_INTERVAL
            _draw_status(status, run, name)

    draw()
    watch(run, draw)
    st.rerun()


@st.fragment(run_every=0.7)
def _redraw_when_stopped(session: Session) -> None:
    """A stopped page can't draw how the reply ended; this, which the browser asks for by itself, has it drawn anew."""
    if session.run is not None and session.run.is_over:
        st.rerun()


def _draw_status(status: "st.delta_generator.DeltaGenerator", run: Run, name: str) -> None:
    """What a reply waits for, or how fast it comes. Drawing it is also where Streamlit can stop the page."""
    phase = run.phase
    if phase.name == "prefill" and phase.total > phase.done > 0:
        status.progress(phase.done / phase.total, text=f"Reading: {phase.done:,} of {phase.total:,} tokens")
    elif phase.name == "writing":
        status.caption(as_label(measures(run.turn.reply, "")))
    else:
        status.caption(f":shimmer[{as_label(waiting_for(phase, run.order.model_name, name))}]")


def waiting_for(phase: Phase, model_name: str, persona_name: str) -> str:
    """One line for a reply that has no word yet."""
    match phase.name:
        case "loading":
            return f"Loading {model_name} …"
        case "busy":
            return f"Waiting: another chat is using the engine. {model_name} is next …"
        case "summing":
            return "Summing up what was said before …"
        case "waiting":
            return f"Waiting: {phase.total} request{'s' if phase.total != 1 else ''} ahead …"
        case _:
            return f"{persona_name} is reading …"


def measures(reply: Reply, model_name: str) -> str:
    """The line under a reply: how long, how fast, and why it ended where that isn't plain to see."""
    parts = [model_name] if model_name else []
    if reply.latest and reply.latest.completion_tokens:
        tokens = reply.latest.completion_tokens
        parts.append(f"{tokens:,} token{'s' if tokens != 1 else ''}")
        parts.append(f"{reply.latest.decode_tps:.1f} tokens/s")
        parts.append(f"first after {reply.latest.seconds_to_first_token:.1f} s")
    match reply.finish_reason:
        case "length":
            parts.append("cut at max tokens")
        case "cancelled":
            parts.append("stopped")
    return " · ".join(parts)
