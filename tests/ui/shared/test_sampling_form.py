"""The sampling form: every parameter has a field, in both places, with the bounds that a persona's file has."""

from dataclasses import fields

import pytest
from pydantic import ValidationError

from menny.engine import SamplingParams
from menny.personas.persona import Parameters
from menny.ui.shared.sampling_form import NumberField
from tests.ui.conftest import Stage, go, say

NAMES = list(Parameters.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_allows_what_a_persona_may_say(name: str) -> None:
    field = NumberField.of(name)
    for value in (field.clamp(field.low), field.high):
        assert getattr(Parameters(**{name: value}), name) == value
    for value in (field.high + field.step, field.low - field.step, *([field.low] if field.is_open else [])):
        with pytest.raises(ValidationError):
            Parameters(**{name: value})


def test_every_parameter_is_drawn_in_both_places_and_is_the_engines(stage: Stage) -> None:
    page = stage.open_page()
    drawn = {str(widget.key) for kind in ("slider", "number_input") for widget in page.get(kind)}
    assert set(NAMES) <= drawn
    assert set(NAMES) <= {field.name for field in fields(SamplingParams)}
    go(page, "personas").button(key="edit-menny").click().run()
    assert {f"persona_{name}" for name in NAMES} <= {str(widget.key) for widget in page.number_input}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("{top_p: 0.005}", {"top_p": 0.01}),
        ("{max_tokens: 32768}", {"max_tokens": 32768}),
        ("{top_k: 1000}", {"top_k": 1000}),
    ],
)
def test_a_value_holds_that_a_slider_does_not_reach_or_the_nearest_that_a_field_can(
    stage: Stage, given: str, used: dict[str, float]
) -> None:
    (stage.configs / "personas" / "odd.yaml").write_text(f"name: Odd\nsystem_prompt: x\nparameters: {given}\n")
    page = stage.open_page()
    page.selectbox(key="persona").select("odd").run()
    assert not page.exception
    say(page, "Hi")
    assert {name: getattr(stage.engine.params[0], name) for name in used} == used
