"""The shield: which guardrails hold, chosen in the sidebar; by the message box, the exact text that the model gets."""

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
    """What the model is told, under which guardrails, and why nothing may be sent where these can't be had."""

    instructions: Instructions
    guardrails: Sequence[Guardrail] = ()
    error: str = ""


def choose_guardrail(persona: Persona, available: Sequence[Guardrail]) -> ActiveInstructions:
    """The sidebar's part: the app's guardrail; a persona's own are added to it.

    One whose file is gone or broken stays chosen, and nothing is sent until it can be read or another is chosen.
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
        help="What every persona is told first. A persona can add guardrails of its own and can't take these away.",
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


def draw_shield(active: ActiveInstructions) -> None:
    """A button that opens to what the model is told."""
    names = " + ".join(guardrail.name for guardrail in active.guardrails)
    icon = ":material/shield:" if names else ":material/remove_moderator:"
    with st.popover(
        as_label(names or "No guardrail"), icon=icon, type="tertiary", key="shield", help="What the model is told"
    ):
        st.markdown("**What the model is told**")
        st.caption(
            "To the letter, before everything that is said, however much of a long chat it no longer sees."
            + ("" if names else " No guardrail is in it.")
        )
        st.code(active.instructions.system_text or "(nothing)", language=None, wrap_lines=True)
        for guardrail in active.guardrails:
            st.caption(as_label(f"Guardrail {guardrail.name}: {guardrail.source or 'a text of your own'}"))
        for message in active.instructions.examples:
            st.caption("Example question" if message.role == "user" else "Example answer")
            st.code(message.content, language=None, wrap_lines=True)
