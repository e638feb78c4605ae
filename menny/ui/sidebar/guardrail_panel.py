"""The choice of a guardrail in the sidebar, and by the message box the instructions that the model gets."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from menny.chat.settings import Instructions
from menny.errors import ConfigError
from menny.moderation.guardrails import NONE, Guardrail, combine
from menny.personas.persona import Persona
from menny.ui.safe_markdown import as_label
from menny.ui.session import set_default

DEFAULT_GUARDRAIL = "mistral"


@dataclass(frozen=True, slots=True)
class ActiveInstructions:
    """The instructions and the guardrails in them, or the error that keeps messages from being sent."""

    instructions: Instructions
    guardrails: Sequence[Guardrail] = ()
    error: str = ""


def choose_guardrail(persona: Persona, available: Sequence[Guardrail]) -> ActiveInstructions:
    """Draw the choice of the app's guardrail; a persona's own are added to it.

    A guardrail whose file is missing or broken stays chosen; nothing is sent until it can be read or another is chosen.
    """
    names = {guardrail.id: guardrail.name for guardrail in available} or {NONE: "None"}
    set_default({"guardrail": DEFAULT_GUARDRAIL})
    names.setdefault(st.session_state["guardrail"], f"{st.session_state['guardrail']} · can't be read")
    st.selectbox(
        "Guardrail",
        list(names),
        key="guardrail",
        persist_state="session",
        format_func=lambda guardrail_id: names[guardrail_id],
        help="Instructions before every persona's own. A persona can add guardrails, but not remove this one.",
    )
    try:
        in_force = combine(st.session_state["guardrail"], persona.guardrails, available)
    except ConfigError as error:
        st.error(as_label(str(error)))
        return ActiveInstructions(Instructions(), error=str(error))
    added = [guardrail for guardrail in in_force if guardrail.id != st.session_state["guardrail"]]
    if added:
        st.caption(as_label(f"{persona.name} adds: {', '.join(guardrail.name for guardrail in added)}"))
    instructions = Instructions.of(
        [guardrail.text for guardrail in in_force], persona.system_text(), persona.example_messages()
    )
    return ActiveInstructions(instructions, in_force)


def draw_instructions(active: ActiveInstructions, thinking_words: str = "") -> None:
    """Draw a button that opens the instructions to the model, with the words that ask it to think, if any."""
    names = " + ".join(guardrail.name for guardrail in active.guardrails)
    icon = ":material/shield:" if names else ":material/remove_moderator:"
    with st.popover(
        as_label(names or "No guardrail"), icon=icon, type="tertiary", key="shield", help="Instructions to the model"
    ):
        st.markdown("**Instructions to the model**")
        st.caption(
            "The exact text at the beginning of every prompt, also in chats that are longer than the model's context."
            + ("" if names else " It contains no guardrail.")
        )
        told = "\n\n".join(filter(None, (active.instructions.system_text, thinking_words)))
        st.code(told or "(nothing)", language=None, wrap_lines=True)
        for guardrail in active.guardrails:
            st.caption(as_label(f"Guardrail {guardrail.name}: {guardrail.source or 'a text of your own'}"))
        for message in active.instructions.examples:
            st.caption("Example question" if message.role == "user" else "Example answer")
            st.code(message.content, language=None, wrap_lines=True)
