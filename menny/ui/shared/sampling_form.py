"""The sampling form: a field for each of `Parameters`, in the sidebar and in the persona's editor alike.

Labels, bounds and helps come from the model itself, so that a parameter is described in one place.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from menny.personas.persona import Parameters
from menny.ui.shared.widget_values import show

FINE_STEP, COARSE_STEP = 0.01, 0.05  # of shares, and of numbers that go beyond 1


@dataclass(frozen=True, slots=True)
class NumberField:
    """A parameter's field. `low` and `high` are allowed values, except for a `low` that is an open end."""

    label: str
    help: str
    low: float
    high: float
    step: float
    is_whole: bool
    is_open: bool

    @classmethod
    def of(cls, name: str) -> "NumberField":
        """Return the field of a parameter by its name. Raises KeyError for other names."""
        rule = _rules()[name]
        is_whole, is_open = rule["type"] == "integer", "exclusiveMinimum" in rule
        low, high = rule["exclusiveMinimum"] if is_open else rule["minimum"], rule["maximum"]
        step = 1 if is_whole else FINE_STEP if high <= 1 else COARSE_STEP
        return cls(name.replace("_", " ").capitalize(), rule["description"], low, high, step, is_whole, is_open)

    def clamp(self, value: float, most: float | None = None) -> float:
        """Return the nearest value that a slider can show."""
        low = self.low + self.step if self.is_open else self.low
        return max(low, min(value, self.high if most is None else most))


@functools.cache
def _rules() -> dict[str, Any]:
    """Return the JSON schema of each parameter: its type, bounds and description."""
    rules: dict[str, Any] = Parameters.model_json_schema()["properties"]
    return rules


def draw_parameter(name: str, value: float, on_change: Callable[[str, float], None], most: int | None = None) -> None:
    """Draw a parameter as a slider, up to `most`, and as a number to type beside it; both show `value`.

    `on_change` is called with the name and the new value. The slider's key is the name, the number's ends in `-typed`.
    """
    shown, typed = NumberField.of(name), f"{name}-typed"
    kind = int if shown.is_whole else float
    low, high = kind(shown.clamp(shown.low)), kind(shown.high)
    for key, limit in ((name, most), (typed, None)):
        show({key: kind(shown.clamp(value, limit))})

    def use(key: str) -> None:
        on_change(name, st.session_state[key])

    with st.container(key=f"parameter-{name}", horizontal=True, vertical_alignment="bottom", gap="xsmall", wrap=False):
        st.slider(
            shown.label,
            low,
            kind(most or high),
            step=kind(shown.step),
            key=name,
            help=shown.help,
            on_change=use,
            args=(name,),
        )
        st.number_input(
            f"{shown.label}, typed",
            low,
            high,
            step=kind(shown.step),
            format="%d" if shown.is_whole else "%.2f",
            key=typed,
            label_visibility="collapsed",
            width=82,
            on_change=use,
            args=(typed,),
        )


def draw_number(name: str, key: str) -> None:
    """Draw a parameter as a number to type; an open end can be typed, and is refused when it is saved."""
    shown = NumberField.of(name)
    kind = int if shown.is_whole else float
    st.number_input(
        shown.label,
        kind(shown.low),
        kind(shown.high),
        step=kind(shown.step),
        format="%d" if shown.is_whole else "%.2f",
        key=key,
        help=shown.help,
        persist_state="session",
    )
