"""The choice of the persona that answers in the open chat."""

import streamlit as st

from menny.personas.persona import Persona
from menny.ui.session import Session
from menny.ui.shared.feedback import ABOVE_BOX
from menny.ui.shared.options import Options
from menny.ui.shared.widget_values import show


def chosen_persona(session: Session, options: Options) -> Persona:
    """Return the open chat's persona: as chosen, else that of its last reply, else the one that new chats begin with.

    Where the file of one that was here has been removed, another answers, and a notice says so.
    """
    chosen, before = session.chosen.persona, session.persona
    if not chosen and session.chat.entries:
        chosen = session.chat.entries[-1].persona
    known = {persona.id: persona for persona in options.personas}
    persona = known.get(chosen) or options.default_persona
    if before and before.id == chosen != persona.id:
        sentence = f"{before.name} is no longer here, so {persona.name} answers. You can choose another persona."
        session.feedback.notice(ABOVE_BOX, sentence)
    session.persona = persona
    return persona


def draw_persona(options: Options, persona: Persona) -> None:
    """Draw the choice."""
    names = {persona.id: persona.name for persona in options.personas}
    show({"persona": persona.id})
    st.selectbox(
        "Persona",
        list(names),
        key="persona",
        format_func=lambda persona_id: names[persona_id],
        on_change=lambda: choose_persona(options.persona(st.session_state["persona"])),
    )


def choose_persona(persona: Persona) -> None:
    """Let a persona answer in the open chat, and in new ones."""
    session = Session.current()
    session.choose_persona(persona.id)
    session.set_app(persona=persona.id)
