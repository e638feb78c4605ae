"""The sampling form: a field for each of `Parameters`, in the sidebar and in the persona's editor alike.

Labels, bounds and helps come from the model itself, so that a parameter is described in one place.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from menny.personas.persona import Parameters

FINE_STEP, COARSE_STEP = 0.01, 0.05  # of shares, and of numbers that go beyond 1


@dataclass(frozen=True, slots=True)
class NumberField:
    """One parameter as a field shows it; `low` and `high` are allowed, but for a `low` that is an open end."""

    label: str
    help: str
    low: float
    high: float
    step: float
    is_whole: bool
    is_open: bool

    @classmethod
    def of(cls, name: str) -> "NumberField":
        """The field for a parameter by its name. KeyError if there is none."""
        rule = _rules()[name]
        is_whole, is_open = rule["type"] == "integer", "exclusiveMinimum" in rule
        low, high = rule["exclusiveMinimum"] if is_open else rule["minimum"], rule["maximum"]
        step = 1 if is_whole else FINE_STEP if high <= 1 else COARSE_STEP
        return cls(name.replace("_", " ").capitalize(), rule["description"], low, high, step, is_whole, is_open)

    def clamp(self, value: float, most: float | None = None) -> float:
        """The nearest value that a slider can show."""
        low = self.low + self.step if self.is_open else self.low
        return max(low, min(value, self.high if most is None else most))


@functools.cache
def _rules() -> dict[str, Any]:
    """The JSON schema of each parameter: its type, bounds and description."""
    rules: dict[str, Any] = Parameters.model_json_schema()["properties"]
    return rules


def draw_slider(name: str, most: int | None = None) -> None:
    """Draw a parameter as a slider up to `most`, under its own name as key."""
    shown = NumberField.of(name)
    kind = int if shown.is_whole else float
    st.slider(
        shown.label,
        kind(shown.clamp(shown.low)),
        kind(shown.high if most is None else most),
        step=kind(shown.step),
        key=name,
        help=shown.help,
        persist_state="session",
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


def values_of(names: Iterable[str]) -> dict[str, Any]:
    """The values of fields that were drawn under their own names, as `SamplingParams` takes them."""
    return {name: st.session_state[name] for name in names}
