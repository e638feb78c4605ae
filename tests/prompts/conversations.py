"""Vocabularies and made-up conversations for the tests of prompts."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mistral_common
from hypothesis import strategies as st

from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.messages import Message, Role

VOCABULARIES = Path(mistral_common.__file__).parent / "data"
VOCABULARY = {
    "mistral-v1": "tokenizer.model.v1",
    "llama-2": "tokenizer.model.v1",  # no Llama vocabulary here: one without control tokens for turns, as Llama's is
    "mistral-v2": "mistral_instruct_tokenizer_240216.model.v2",
    "mistral-v3": "mistral_instruct_tokenizer_240323.model.v3",
    "mistral-v3-tekken": "tekken_240718.json",
    "mistral-v7": "mistral_instruct_tokenizer_241114.model.v7",
}


SPECIALS = [
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
    *(f"<SPECIAL_{number}>" for number in range(20, 32)),
    *("[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"),
]
KNOWN = {"v7": 20, "v11": 34, "v13": 36, "v15": 38}  # the special tokens that a version's files list


@cache
def _published() -> dict[str, Any]:
    """A published vocabulary, its tokens cut to keep the test fast; bytes and common words are all in it."""
    spec = json.loads((VOCABULARIES / "tekken_240911.json").read_text())
    spec["vocab"] = spec["vocab"][:30_000]
    spec["config"]["default_vocab_size"] = 31_000
    spec["config"]["num_vocab_tokens"] = 30_000
    return spec


def write_tekken(folder: Path, version: str | None) -> Path:
    """A tekken.json as models of this version come with."""
    spec = _published() | {"config": _published()["config"] | {"version": version}}
    names = SPECIALS[: KNOWN.get(version or "", 38)]
    spec["special_tokens"] = [{"rank": n, "token_str": name, "is_control": True} for n, name in enumerate(names)]
    if version == "v15":
        effort = {"type": "enum", "values": ["none", "high"], "accepts_none": True, "default": "none"}
        spec["model_settings_builder"] = {"reasoning_effort": effort}
    file = folder / "tekken.json"
    file.write_text(json.dumps(spec))
    return file


@cache
def tokenizer_of(template: str) -> Tokenizer:
    """The tokenizer of a template of Mistral's, or of llama-2."""
    if template in ("mistral-v7-tekken", "mistral-v15"):
        with TemporaryDirectory() as folder:
            return load_tokenizer(write_tekken(Path(folder), "v15" if template == "mistral-v15" else "v13"))
    return load_tokenizer(VOCABULARIES / VOCABULARY[template])


BLANKS = [" ", "  ", "\n", "\n\n", "\t", "\0", "▁"]
ORDINARY = [*BLANKS, "Hi", "Hello. ", "é", "🙂", "👨‍👩‍👧", "日本語", "שלום", "a\u200bb", "x[0] < y"]
LIKE_CONTROLS = ["[INST]", "[/INST]", " [/INST] ", "<s>", "</s>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[PREFIX]"]
LIKE_CONTROLS += ["<|im_start|>", "<|im_end|>", "[TOOL_CALLS]", "[control_8]", "<unk>", "<0x0A>", "<<SYS>>\n"]


def texts(fragments: list[str], without: str = "") -> st.SearchStrategy[str]:
    """Fragments and free text in a row; `without` names characters that free text doesn't hold."""
    free = st.text(st.characters(codec="utf-8", exclude_characters=without), max_size=12)
    return st.lists(st.sampled_from(fragments) | free, max_size=4).map("".join)


@st.composite
def conversations(draw: st.DrawFn, text: st.SearchStrategy[str]) -> list[Message]:
    """Conversations that mistral-common takes too: no empty answer, and no system message after one."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(1, 7))):
        roles: list[Role] = ["user", "assistant"]
        if not messages or messages[-1].role != "assistant":
            roles.append("system")
        role = draw(st.sampled_from(roles))
        messages.append(Message(role, draw(text.filter(bool) if role == "assistant" else text)))
    if all(message.role != "user" for message in messages):
        messages.append(Message("user", draw(text)))
    return messages
