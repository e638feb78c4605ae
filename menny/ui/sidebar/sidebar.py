"""The sidebar of two: the chats, and the settings of the open chat and of the app."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from menny.chat.chat_settings import SAMPLING
from menny.errors import ConfigError
from menny.ui.chat.remembering import facts_told
from menny.ui.chat.undo import draw_undo
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.shared_engine import shared_engine
from menny.ui.shared.widget_values import show
from menny.ui.shared.you import you_in
from menny.ui.sidebar.choices import DEFAULT_GUARDRAIL, Choices, reply_settings
from menny.ui.sidebar.facts_panel import choose_remembering
from menny.ui.sidebar.guardrail_panel import choose_guardrail
from menny.ui.sidebar.lore_panel import choose_lorebooks
from menny.ui.sidebar.memory_panel import choose_memory, draw_meter, usage_of
from menny.ui.sidebar.model_panel import ModelChoice, chosen_model, draw_model
from menny.ui.sidebar.moderation_panel import choose_moderation
from menny.ui.sidebar.note_panel import guide_chat
from menny.ui.sidebar.persona_panel import chosen_persona, draw_persona
from menny.ui.sidebar.profile_panel import choose_profile
from menny.ui.sidebar.retention_panel import choose_deletion
from menny.ui.sidebar.sampling_panel import draw_sampling
from menny.ui.sidebar.thinking_panel import choose_thinking

CHATS, SETTINGS = "Chats", "Settings"
TABS = "sidebar"  # the key of the two


def draw_sidebar(session: Session, options: Options) -> tuple[Choices, "st.delta_generator.DeltaGenerator"]:
    """Draw it; return the choices and the container for the chats. A reply under way keeps its own settings."""
    choice, persona = chosen_model(session, options), chosen_persona(session, options)
    settings, active = reply_settings(session.chosen, persona, choice.model, options)
    settings = replace(settings, facts=facts_told(session.chats.store, session.chat, persona.id))
    error = active.error or options.error or choice.error
    you = you_in(session.chosen, persona, options)
    engine = shared_engine().engine_of(choice.source) if choice.source else None
    usage, too_long = usage_of(session, engine, settings)
    choices = Choices(persona, choice.model, choice.source, active, settings, you, usage, error)
    with st.sidebar:
        st.button(
            "New chat",
            key="new_chat",
            icon=":material/edit_square:",
            width="stretch",
            on_click=session.open,
            args=("",),
            help="Ctrl Shift O",
        )
        st.button(
            "Temporary chat",
            key="new_temporary",
            icon=":material/visibility_off:",
            type="tertiary",
            on_click=session.open_temporary,
            help="A chat that is never saved",
        )
        draw_undo(session, "sidebar")
        st.session_state.setdefault(TABS, session.tab or CHATS)
        chats, panel = st.tabs([CHATS, SETTINGS], key=TABS, on_change="rerun")
        session.tab = st.session_state[TABS]  # Streamlit forgets it while another page is shown
        if panel.open:  # they are half of a page's widgets, and seldom looked at
            with panel:
                _draw_settings(session, options, choices, choice, too_long)
        _draw_errors(options.errors)
    return choices, chats


def _draw_settings(session: Session, options: Options, choices: Choices, choice: ModelChoice, too_long: str) -> None:
    """Draw the settings: first those of the open chat, then those of the app."""
    draw_model(session, choice)
    draw_persona(options, choices.persona)
    choose_profile(session, options, choices.you)
    values = {name: getattr(choices.settings.params, name) for name in SAMPLING}
    thinking = choices.settings.thinking
    choose_thinking(session, thinking, choice.model)
    draw_sampling(session, values, choices.settings.params.seed, thinking)
    choose_memory(session, choices.settings.memory)
    choose_lorebooks(session, session.chosen, choices.persona, options)
    choose_remembering(session, choices.persona)
    guide_chat(session)
    draw_meter(choices.usage, too_long)
    st.caption("For all chats")
    chosen = options.settings.guardrail or DEFAULT_GUARDRAIL
    choose_guardrail(session, choices.persona, options.guardrails, chosen, choices.instructions)
    choose_moderation(session, options)
    _choose_titles(session, options)
    choose_deletion(session, options.settings.delete_chats_after)
    _choose_theme(session, options)


def _choose_titles(session: Session, options: Options) -> None:
    """Draw the switch for titles that the model writes."""
    show({"titles": options.settings.titles})
    st.toggle(
        "Let the model title chats",
        key="titles",
        on_change=lambda: session.set_app(titles=st.session_state["titles"]),
        help="The model writes a short title when nobody waits for a reply. Otherwise a chat keeps its first words.",
    )


def _choose_theme(session: Session, options: Options) -> None:
    """Draw the choice of the page's colors; without one, Streamlit's own menu decides in each browser."""
    show({"theme": options.settings.theme or "system"})
    st.selectbox(
        "Theme",
        ("system", "light", "dark"),
        key="theme",
        format_func=str.capitalize,
        on_change=lambda: session.set_app(theme=st.session_state["theme"]),
    )
    if session.chat.is_temporary:  # which loading the page again would end
        st.caption("Another theme shows once you leave this temporary chat.")


def _draw_errors(errors: Sequence[ConfigError]) -> None:
    if not errors:
        return
    title = "A file has an error" if len(errors) == 1 else f"{len(errors)} files have errors"
    with st.expander(title, icon=":material/warning:", expanded=True):
        for error in errors:
            st.warning(as_label(str(error)))
