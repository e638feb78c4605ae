"""The preview's count of tokens, held to the real tokenizer and template."""

from pathlib import Path

import pytest

from menny.engine import load_tokenizer
from menny.messages import Message
from menny.prompts import encode_chat
from menny.ui.personas.preview import count_tokens, instructions_of

SAID = {
    "name": "Basil ",
    "system_prompt": " You are {{char}}.",
    "examples": [{"user": "Who are you, {{user}}?", "assistant": "Basil."}],
}


def test_what_is_told_is_filled_in_and_starts_with_the_guardrails() -> None:
    brief = instructions_of(SAID, ["Be kind."])
    assert brief.system_text == "Be kind.\n\nYou are Basil."
    assert [message.content for message in brief.examples] == ["Who are you, you?", "Basil."]
    assert instructions_of({**SAID, "system_prompt": "", "examples": []}, []).system_text == ""


@pytest.mark.slow
@pytest.mark.parametrize("template", ["chatml", None])
def test_the_count_is_what_the_brief_adds_to_a_prompt(smollm2_path: Path, template: str | None) -> None:
    tokenizer = load_tokenizer(smollm2_path)
    brief = instructions_of(SAID, ["Be kind."])
    question = Message("user", "When do roses bloom?")
    whole = encode_chat([Message("system", brief.system_text), *brief.examples, question], "chatml", tokenizer)
    assert count_tokens(brief, tokenizer, template) == len(whole) - len(encode_chat([question], "chatml", tokenizer))
    assert count_tokens(instructions_of({**SAID, "system_prompt": "", "examples": []}, []), tokenizer, template) == 0
