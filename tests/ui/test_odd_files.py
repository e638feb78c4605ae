"""Files by hand with what YAML can say and JSON can't: the page says what is wrong in a sentence, and goes on."""

import os
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.conftest import Stage, go

VALUES = {
    "hexadecimal": "0x" + "f" * 3572,
    "binary": "0b" + "1" * 20_000,
    "base 60": "1" + ":59" * 9000,
    "not a number": ".nan",
    "infinity": ".inf",
    "bytes": "!!binary aGk=",
    "a set": "!!set {a}",
    "a key that is a list": "{[a]: b}",
}
FILES = {
    "a persona": "own/personas/odd.yaml:name: Odd\nsystem_prompt: x\norder: {}\n",
    "a persona's extensions": "own/personas/worse.yaml:name: Worse\nsystem_prompt: x\nextensions: {{a: [{}]}}\n",
    "a preset": "configs/personas/odd.yaml:name: Odd\nsystem_prompt: x\norder: {}\n",
    "a guardrail": "configs/guardrails/odd.yaml:name: Odd\ntext: x\norder: {}\n",
    "the user's models": "own/models.yaml:models:\n  - {{id: odd, name: Odd, path: x, context_length: {}}}\n",
    "the settings": "own/settings.yaml:unload_after: {}\n",
}


def place(stage: Stage, name: str) -> Path:
    root, _, rest = name.partition("/")
    return (stage.home if root == "own" else stage.configs) / rest


def shown(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*page.warning, *page.error]).replace("\\", "")


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_whatever_yaml_says_beyond_json_the_page_names_the_file_and_the_line_and_goes_on(
    stage: Stage, value: str
) -> None:
    for text in FILES.values():
        name, _, content = text.partition(":")
        file = place(stage, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.format(value))
    page = stage.open_page()
    assert not page.exception
    assert page.chat_input
    sentences = shown(page)
    assert sentences.count("personas/odd.yaml, line 3: ") == 2
    assert sentences.count("personas/worse.yaml, line 3: ") == 1
    assert "guardrails/odd.yaml, line 3: " in sentences
    assert "models.yaml, line 2: " in sentences
    models = go(page, "models")
    assert not models.exception
    assert "settings.yaml, line 1: " in shown(models)
    assert not go(page, "personas").exception


@pytest.mark.parametrize("name", ["own/personas/odd.yaml", "own/models.yaml", "own/settings.yaml"])
def test_a_pipe_in_a_files_place_is_named_and_not_waited_for(stage: Stage, name: str) -> None:
    file = place(stage, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(file)
    page = go(stage.open_page(), "models")
    assert not page.exception
    sentences = shown(page)
    if "personas" in name:
        sentences = shown(go(page, "personas"))
    assert f"{file.name}: it isn't a file but a named pipe." in sentences
