"""Ollama's Modelfiles and text-generation-webui's characters, as people write them."""

import pytest

from menny.errors import ConfigError
from menny.personas.imports import read_import

OF_ITS_OWN = """# How to talk
SYSTEM "You are Mario,
a plumber."
PARAMETER temperature 1
PARAMETER stop "FROM"
PARAMETER stop you
MESSAGE user "Who
are you?"
MESSAGE assistant \"""It's me!\"""
TEMPLATE \"""{{ .System }}

{{ .Prompt }}\"""
"""


def test_a_modelfile_that_names_no_model_is_read_and_quotes_spread_over_lines() -> None:
    persona = read_import("mario.modelfile", OF_ITS_OWN.replace("\n", "\r\n").encode("utf-8-sig")).persona
    assert (persona.name, persona.system_prompt) == ("Mario", "You are Mario,\na plumber.")
    assert persona.parameters.temperature == 1
    assert [(one.user, one.assistant) for one in persona.examples] == [("Who\nare you?", "It's me!")]
    kept = {"template": "{{ .System }}\n\n{{ .Prompt }}", "parameters": {"stop": ["FROM", "you"]}}
    assert persona.extensions == {"modelfile": kept}


def test_a_character_that_begins_like_a_modelfile_is_none() -> None:
    text = "# A friend\nname: Basil\ncontext: |\n  SYSTEM is a word.\n  from here on\n"
    assert read_import("basil", text.encode()).persona.system_prompt == "SYSTEM is a word.\nfrom here on"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('SYSTEM "You are Mario\nPARAMETER top_k 5\n', "line 1: the \" that opens here isn't closed"),
        ("SYSTEM Hi\nnonsense here\n", "line 2: nonsense isn't a Modelfile instruction"),
        ("name: X\nsystem_prompt: Y\nfoo: 1\n", "imported: unknown key 'foo'; the keys are name,"),
    ],
)
def test_what_is_wrong_is_told_by_its_line_or_key(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_import("mario", text.encode())
