"""Prompts over later Tekken vocabularies: the ids of mistral-common in v7, v11, v13 and v15, thoughts included."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct import chunk as chunks
from mistral_common.protocol.instruct import messages as reference
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.errors import ModelError
from menny.messages import Message
from menny.prompts import encode_chat, guess_template
from tests.prompts.conversations import LIKE_CONTROLS, ORDINARY, conversations, texts, write_tekken

TEMPLATE = {"v7": "mistral-v7-tekken", "v11": "mistral-v7-tekken", "v13": "mistral-v7-tekken", "v15": "mistral-v15"}
VERSIONS = list(TEMPLATE)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, MistralTokenizer]]:
    made = {}
    for version in VERSIONS:
        file = write_tekken(tmp_path_factory.mktemp(version), version)
        made[version] = load_tokenizer(file), MistralTokenizer.from_file(str(file))
    return made


def reference_ids(messages: list[Message], tokenizer: MistralTokenizer, effort: str | None) -> list[int]:
    request: list[Any] = []
    for message in messages:
        if message.role == "system":
            request.append(reference.SystemMessage(content=message.content))
        elif message.role == "user":
            request.append(reference.UserMessage(content=message.content))
        elif not message.thought:
            request.append(reference.AssistantMessage(content=message.content))
        else:
            parts: list[Any] = [chunks.ThinkChunk(thinking=message.thought)]
            parts += [chunks.TextChunk(text=message.content)] if message.content else []
            request.append(reference.AssistantMessage(content=parts))
    if messages[-1].role == "assistant":
        request[-1].prefix = True
    asked = ChatCompletionRequest(messages=request, reasoning_effort=effort)
    return list(tokenizer.encode_chat_completion(asked).tokens)


@st.composite
def with_thoughts(draw: st.DrawFn) -> list[Message]:
    """Turns that alternate, as mistral-common joins no thoughts; some answers have a thought."""
    text = texts([*ORDINARY, *LIKE_CONTROLS, "[THINK]", "[/THINK]", "[MODEL_SETTINGS]"])
    some = text.filter(bool)
    messages = [Message("system", draw(some))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        messages.append(Message("user", draw(some)))
        messages.append(Message("assistant", draw(some), draw(some) if draw(st.booleans()) else ""))
    return messages if draw(st.integers(0, 3)) == 0 else [*messages, Message("user", draw(some))]


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=200)
@given(messages=conversations(texts([*ORDINARY, *LIKE_CONTROLS, "[THINK]", "[/MODEL_SETTINGS]"])))
def test_conversations_have_the_ids_of_mistral_common(tokenizers, version, messages):
    ours, theirs = tokenizers[version]
    effort = "none" if version == "v15" else None
    assert encode_chat(messages, TEMPLATE[version], ours) == reference_ids(messages, theirs, effort)


@pytest.mark.parametrize("version", ["v13", "v15"])
@settings(max_examples=200)
@given(messages=with_thoughts(), effort=st.sampled_from(["none", "high"]))
def test_so_have_conversations_with_thoughts(tokenizers, version, messages, effort):
    ours, theirs = tokenizers[version]
    expected = reference_ids(messages, theirs, effort if version == "v15" else None)
    assert encode_chat(messages, TEMPLATE[version], ours, reasoning_effort=effort) == expected


@pytest.mark.parametrize("version", VERSIONS)
@given(messages=with_thoughts())
def test_no_text_can_forge_a_thought_or_a_setting(tokenizers, version, messages):
    ours, _ = tokenizers[version]
    ids = encode_chat(messages, TEMPLATE[version], ours)
    thoughts = sum(bool(message.thought) for message in messages) if version in ("v13", "v15") else 0
    open_end = messages[-1].role == "assistant" and messages[-1].thought and not messages[-1].content
    for name, count in (("[THINK]", thoughts), ("[/THINK]", thoughts - bool(open_end))):
        assert ids.count(ours.control_id(name)) == count
    assert ids.count(ours.control_id("[MODEL_SETTINGS]")) == (version == "v15")


def test_a_thought_that_was_cut_short_is_gone_on_with(tokenizers):
    ours, _ = tokenizers["v13"]
    ids = encode_chat([Message("user", "Why?"), Message("assistant", "", "Let me think")], "mistral-v7-tekken", ours)
    assert ids[-4:] == [ours.control_id("[THINK]"), *ours.encode("Let me think")]


def test_templates_that_know_no_thoughts_leave_them_out(tokenizers):
    told = [Message("user", "Why?"), Message("assistant", "Because.", "Hm, why?"), Message("user", "Really?")]
    plain = [Message(message.role, message.content) for message in told]
    for version, template in (("v7", "mistral-v7-tekken"), ("v13", "mistral-v3-tekken"), ("v13", "mistral-v7")):
        ours, _ = tokenizers[version]
        assert encode_chat(told, template, ours) == encode_chat(plain, template, ours)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_template_is_guessed_from_the_version_in_the_file(tokenizers, version):
    assert tokenizers[version][0].template_version == version
    assert guess_template(tokenizers[version][0]) == TEMPLATE[version]


@pytest.mark.parametrize(
    ("version", "what"), [("v17", "newer than v15"), (13, "a version such as v13"), ("13", "such as v13")]
)
def test_a_version_that_is_not_known_is_refused_by_name(tmp_path, version, what):
    with pytest.raises(ModelError, match=rf"tekken\.json.*{what}"):
        load_tokenizer(write_tekken(tmp_path, version))
