"""The switch of thinking: a persona brings it, a chat changes it, and the prompt follows."""

import pytest

from menny.ui.chat.thought import duration, title_of
from tests.ui.conftest import Stage, say

WORDS = "inner monologue"


def test_on_asks_the_model_to_think_after_the_persona(stage: Stage) -> None:
    page = stage.open_page()
    assert page.selectbox(key="thinking").value == "auto"
    say(page, "Hi")
    assert WORDS not in stage.engine.prompts[-1]
    page.selectbox(key="thinking").set_value("on").run()
    say(page, "Hi again")
    system = stage.engine.prompts[-1].split("<|im_end|>")[0]
    assert system.index("Menny") < system.index(WORDS) < system.index("<think>") < system.index("</think>")
    assert any(WORDS in code.value for code in page.get("code"))  # among the instructions to the model
    page.selectbox(key="thinking").set_value("off").run()
    say(page, "And again")
    assert WORDS not in stage.engine.prompts[-1]


def test_a_persona_brings_its_own(stage: Stage) -> None:
    file = stage.configs / "personas" / "basil.yaml"
    file.write_text("name: Basil\nsystem_prompt: You are Basil.\nthinking: on\n")
    page = stage.open_page()
    page.selectbox(key="persona").set_value("basil").run()
    assert page.selectbox(key="thinking").value == "on"
    say(page, "Hi")
    assert WORDS in stage.engine.prompts[-1]
    page.selectbox(key="persona").set_value("menny").run()
    assert page.selectbox(key="thinking").value == "auto"


def test_the_tokens_to_think_come_from_the_settings(stage: Stage) -> None:
    (stage.home / "settings.yaml").write_text("thought_tokens: 700\n")
    page = stage.open_page()
    assert page.number_input(key="thought_tokens").value == 700
    page.selectbox(key="thinking").set_value("on").run()
    say(page, "Hi")
    most = page.slider(key="max_tokens").value
    assert stage.engine.params[-1].max_tokens == most + 700
    page.number_input(key="thought_tokens").set_value(100).run()
    say(page, "Hi")
    assert stage.engine.params[-1].max_tokens == most + 100


def test_a_thought_stands_above_its_answer(stage: Stage) -> None:
    stage.engine.answer = lambda prompt: ["<think>\nIs it ", "a greeting?\n</think>", "\n\nHello."]
    page = say(stage.open_page(), "Hi")
    reply = page.chat_message[1]
    shown = [markdown.value for markdown in reply.markdown]
    assert shown.index("Is it a greeting?") == shown.index("Hello.") - 1
    assert reply.expander[0].label.startswith("Thought for")


@pytest.mark.parametrize(("action", "is_shown"), [("warn", True), ("block", False)])
def test_a_thought_goes_the_way_of_its_answer(stage: Stage, action: str, is_shown: bool) -> None:
    stage.engine.answer = lambda prompt: ["<think>\nA bomb?\n</think>\n\n", "Violent words."]
    stage.engine.judge = lambda text: "hateful" if "Violent" in text else "acceptable"
    page = stage.open_page()
    page.selectbox(key="moderate-replies-hateful").set_value(action).run()
    say(page, "Hi")
    assert ("A bomb?" in [markdown.value for markdown in page.chat_message[1].markdown]) == is_shown
    assert all("bomb" not in text for text in stage.engine.judged)


@pytest.mark.parametrize(
    ("seconds", "title"),
    [(0, "Thought"), (0.2, "Thought for 1 s"), (12.4, "Thought for 12 s"), (60, "Thought for 1 min")],
)
def test_the_title_tells_the_time(seconds: float, title: str) -> None:
    assert title_of(seconds) == title
    assert duration(125) == "2 min 5 s"
