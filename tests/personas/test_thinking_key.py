"""The key `thinking` of a persona's file."""

from pathlib import Path

import pytest

from menny.config.yaml_models import load_yaml
from menny.errors import ConfigError
from menny.personas.files import render
from menny.personas.persona import PersonaFile

MINIMAL = "name: Ada\nsystem_prompt: You are Ada.\n"


@pytest.mark.parametrize(("written", "thinking"), [("on", "on"), ("off", "off"), ("auto", "auto"), ('"on"', "on")])
def test_thinking_is_on_off_or_auto_with_and_without_quotes(tmp_path: Path, written: str, thinking: str) -> None:
    file = tmp_path / "ada.yaml"
    file.write_text(f"{MINIMAL}thinking: {written}\n")
    persona = load_yaml(file, PersonaFile)
    assert persona.thinking == thinking
    file.write_text(render(persona))  # as the editor saves it
    assert load_yaml(file, PersonaFile) == persona


def test_any_other_thinking_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ada.yaml"
    file.write_text(MINIMAL + "thinking: hard\n")
    with pytest.raises(ConfigError, match="thinking"):
        load_yaml(file, PersonaFile)
