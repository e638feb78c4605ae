"""The choice of a guardrail in the sidebar, and by the message box the instructions that the model gets."""

from collections.abc import Sequence

import streamlit as st

from menny.moderation.guardrails import NONE, Guardrail
from menny.personas.persona import Persona
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.widget_values import show
from menny.ui.sidebar.choices import ActiveInstructions


def choose_guardrail(
    session: Session, persona: Persona, available: Sequence[Guardrail], chosen: str, active: ActiveInstructions
) -> None:
    """Draw the choice of the app's guardrail, for all chats, and those that the persona adds.

    A guardrail whose file is missing or broken stays chosen.
    """
    names = {guardrail.id: guardrail.name for guardrail in available} or {NONE: "None"}
    names.setdefault(chosen, f"{chosen} · can't be read")
    show({"guardrail": chosen})
    st.selectbox(
        "Guardrail",
        list(names),
        key="guardrail",
        format_func=lambda guardrail_id: names[guardrail_id],
        help="Instructions before every persona's own, in all chats. A persona can add guardrails, but not remove "
        "this one.",
        on_change=lambda: session.set_app(guardrail=st.session_state["guardrail"]),
    )
    if active.error:
        st.error(as_label(active.error))
    added = [guardrail for guardrail in active.guardrails if guardrail.id != chosen]
    if added:
        st.caption(as_label(f"{persona.name} adds: {', '.join(guardrail.name for guardrail in added)}"))


def draw_instructions(active: ActiveInstructions, *texts: str) -> None:
    """Draw a button that opens the instructions to the model: these texts, one after the other."""
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
        text = "\n\n".join(filter(None, texts))
        st.code(text or "(nothing)", language=None, wrap_lines=True)
        for guardrail in active.guardrails:
            st.caption(as_label(f"Guardrail {guardrail.name}: {guardrail.source or 'a text of your own'}"))
        for message in active.instructions.examples:
            st.caption("Example question" if message.role == "user" else "Example answer")
            st.code(message.content, language=None, wrap_lines=True)
