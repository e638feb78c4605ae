"""How replies are written in this chat: temperature, length and the rest, as sliders and as numbers to type."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from menny.chat.chat_settings import SAMPLING
from menny.chat.thinking import Thinking
from menny.engine import SamplingParams
from menny.ui.session import Session
from menny.ui.shared.sampling_form import NumberField, draw_parameter
from menny.ui.shared.widget_values import show
from menny.ui.sidebar.fold import ADVANCED, fold
from menny.ui.sidebar.thinking_panel import draw_budget

MOST_TOKENS = 4096  # that the slider reaches; more can be typed


def sampling_params(values: Mapping[str, Any], seed: int | None) -> SamplingParams:
    """Return the parameters of a chat or a persona, each brought within its bounds."""
    within: dict[str, Any] = {name: NumberField.of(name).clamp(values[name]) for name in SAMPLING}
    return SamplingParams(**within, seed=seed)


def draw_sampling(session: Session, values: Mapping[str, Any], seed: int | None, thinking: Thinking) -> None:
    """Draw a field for each parameter, those that matter most in sight."""

    def keep(name: str, value: float | None) -> None:
        session.choose(**{name: value})

    draw_parameter("temperature", values["temperature"], keep)
    draw_parameter("max_tokens", values["max_tokens"], keep, most=MOST_TOKENS)
    with fold(session, "Advanced", ADVANCED, icon=":material/tune:") as box:
        if not box.open:
            return
        for name in ("top_p", "top_k", "min_p", "repetition_penalty"):
            draw_parameter(name, values[name], keep)
        show({"seed": seed})
        st.number_input(
            "Seed",
            0,
            2**31 - 1,
            step=1,
            key="seed",
            placeholder="random",
            help="The same seed gives the same reply.",
            on_change=lambda: keep("seed", st.session_state["seed"]),
        )
        draw_budget(session, thinking)
