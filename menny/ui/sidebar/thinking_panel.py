"""The choice whether the model thinks before it answers, and for how long."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import get_args

import streamlit as st

from menny.chat.chat_settings import ChatSettings
from menny.chat.settings import ReplySettings
from menny.chat.thinking import Choice, Thinking
from menny.models.catalogue import ModelSpec
from menny.models.loader import ModelSource
from menny.models.reasoning import is_reasoner, words_of
from menny.personas.persona import Persona
from menny.prompts import find_template, guess_template, reasoning_words
from menny.ui.session import Session
from menny.ui.shared.shared_engine import shared_engine
from menny.ui.shared.widget_values import show

NAMES: Mapping[str, str] = {"auto": "Automatic", "on": "On", "off": "Off"}
HELP = """Whether the model thinks before it answers. Its thoughts are folded above the answer.

- **Automatic**: reasoning models think, all others answer at once.
- **On**: the model is asked to think, after the persona's instructions. Small models may think without getting wiser.
- **Off**: nothing is asked; reasoning models may still think now and then."""
BUDGET, LEAST, MOST = "thought_tokens", 16, 131_072


def draw_thinking(key: str, note: str = "", on_change: Callable[[], None] | None = None) -> None:
    """Draw the choice under a key; `note` stands behind the automatic one."""
    st.selectbox(
        "Thinking",
        get_args(Choice),
        key=key,
        persist_state="session",
        on_change=on_change,
        format_func=lambda choice: NAMES[choice] + (note if choice == "auto" else ""),
        help=HELP,
    )


def thinking_of(chosen: ChatSettings, persona: Persona, model: ModelSpec | None, budget: int) -> Thinking:
    """Return how a reply in this chat thinks: as chosen, else as the persona does; with what is known of the model."""
    thinks = model is not None and is_reasoner(model)
    tokens = min(max(chosen.thought_tokens or budget, LEAST), MOST)
    return Thinking(chosen.thinking or persona.thinking, tokens, thinks, words_of(model) if model else "")


def choose_thinking(session: Session, thinking: Thinking, model: ModelSpec | None) -> None:
    """Draw the choice for a chat."""
    show({"thinking": thinking.choice})
    thinks = model is not None and is_reasoner(model)
    draw_thinking("thinking", f" · now {'on' if thinks else 'off'}", partial(_keep, session, "thinking"))


def _keep(session: Session, key: str) -> None:
    session.choose(**{key: st.session_state[key]})


def asked_words(settings: ReplySettings, source: ModelSource | None) -> str:
    """Return the words that ask the model to think, as far as they are known before it is loaded."""
    thinking = settings.thinking
    engine = shared_engine().engine_of(source) if source else None
    if not thinking.is_on or engine is None:
        return thinking.words if thinking.is_on else ""
    template = find_template(settings.template or guess_template(engine.tokenizer))
    return "" if template.takes_effort else reasoning_words(engine.tokenizer, thinking.words)


def draw_budget(session: Session, thinking: Thinking) -> None:
    """Draw the number of tokens that a thought may take."""
    show({BUDGET: thinking.budget})
    st.number_input(
        "Tokens to think",
        LEAST,
        MOST,
        step=256,
        key=BUDGET,
        help="How long the model may think before it has to answer. The thought isn't counted against max tokens.",
        on_change=_keep,
        args=(session, BUDGET),
    )
