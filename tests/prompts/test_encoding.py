"""Prompts: every id as mistral-common gives it, and a sentence for a conversation that can't be put to a model."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from mistral_common.protocol.instruct import messages as reference
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.engine_protocols import OPENING
from menny.errors import PromptError
from menny.messages import Message
from menny.prompts import TEMPLATES, encode_chat, guess_template, opened
from tests.prompts.conversations import LIKE_CONTROLS, ORDINARY, conversations, texts, tokenizer_of

REFERENCE: dict[str, Callable[[], MistralTokenizer]] = {
    "mistral-v1": MistralTokenizer.v1,
    "mistral-v2": MistralTokenizer.v2,
    "mistral-v3": MistralTokenizer.v3,
    "mistral-v3-tekken": lambda: MistralTokenizer.v3(is_tekken=True),
    "mistral-v7": MistralTokenizer.v7,
}
REFERENCE_TEMPLATES = ["mistral-v1", "mistral-v3", "mistral-v3-tekken", "mistral-v7"]
SYS, HI, HELLO, BYE = (
    Message("system", "SYS"),
    Message("user", "Hi"),
    Message("assistant", "Hello. "),
    Message("user", "Bye"),
)


@cache
def reference_of(template: str) -> MistralTokenizer:
    return REFERENCE[template]()


def reference_ids(messages: list[Message], template: str) -> list[int]:
    kinds = {"system": reference.SystemMessage, "user": reference.UserMessage, "assistant": reference.AssistantMessage}
    request = [kinds[message.role](content=message.content) for message in messages]
    if messages[-1].role == "assistant":
        request[-1].prefix = True  # mistral-common's word for an answer left open
    return list(reference_of(template).encode_chat_completion(ChatCompletionRequest(messages=request)).tokens)


@pytest.mark.parametrize(
    ("template", "ids"),
    [
        (
            "mistral-v1",
            "1 733 16289 28793 17121 28735 13 13 23809 733 28748 16289 28793 22557 28723 28705 2 "
            "733 16289 28793 2463 28706 733 28748 16289 28793",
        ),
        ("mistral-v3", "1 3 16127 4 23325 29491 2 3 17889 29503 781 781 2698 29474 4"),
        ("mistral-v3-tekken", "1 3 37133 4 22177 1046 2 3 1083 61300 1267 3606 1101 4"),
        ("mistral-v7", "1 16 17889 29503 17 3 16127 4 23325 29491 2 3 3231 29474 4"),
    ],
)
def test_a_conversation_has_the_ids_that_were_published_for_it(template: str, ids: str) -> None:
    assert encode_chat([SYS, HI, HELLO, BYE], template, tokenizer_of(template)) == [int(i) for i in ids.split()]


@settings(max_examples=250)
@given(conversations(texts(ORDINARY, without="[<")))  # forged markers are another test's
def test_v1_gives_mistral_commons_ids(messages: list[Message]) -> None:
    assert encode_chat(messages, "mistral-v1", tokenizer_of("mistral-v1")) == reference_ids(messages, "mistral-v1")


@pytest.mark.parametrize("vocabulary", ["mistral-v2", "mistral-v3", "mistral-v3-tekken", "mistral-v7"])
@settings(max_examples=250)
@given(messages=conversations(texts(ORDINARY + LIKE_CONTROLS)))
def test_templates_with_control_tokens_give_mistral_commons_ids(vocabulary: str, messages: list[Message]) -> None:
    template = "mistral-v3" if vocabulary == "mistral-v2" else vocabulary
    assert encode_chat(messages, template, tokenizer_of(vocabulary)) == reference_ids(messages, vocabulary)


@pytest.mark.parametrize("template", REFERENCE_TEMPLATES)
def test_an_answer_stopped_before_its_first_token_is_an_empty_turn(template: str) -> None:
    tokenizer = tokenizer_of(template)
    ids = encode_chat([HI, Message("assistant", ""), BYE], template, tokenizer)
    assert ids == [*encode_chat([HI], template, tokenizer), 2, *encode_chat([BYE], template, tokenizer)[1:]]
    assert encode_chat([HI, Message("assistant", "")], template, tokenizer) == encode_chat([HI], template, tokenizer)


@pytest.mark.parametrize("template", REFERENCE_TEMPLATES)
def test_a_system_message_after_an_answer_is_told_before_the_next_question(template: str) -> None:
    ids = encode_chat([HI, HELLO, SYS, BYE], template, tokenizer_of(template))
    told_elsewhere = [SYS, HI, HELLO, BYE]  # v1 and v3 move the system text anyway
    if template != "mistral-v7":
        assert ids == encode_chat(told_elsewhere, template, tokenizer_of(template))
    else:
        assert ids == [1, 3, 16127, 4, 23325, 29491, 2, 16, 17889, 29503, 17, 3, 3231, 29474, 4]


# llama-2


def llama_2_ids(*texts_and_ends: str | int) -> list[int]:
    tokenizer = tokenizer_of("llama-2")
    ids: list[int] = []
    for part in texts_and_ends:
        ids += [part] if isinstance(part, int) else tokenizer.encode(part)
    return ids


def test_llama_2_has_the_published_layout() -> None:
    first = "[INST] <<SYS>>\nSYS\n<</SYS>>\n\nHi [/INST] Hello. "
    expected = llama_2_ids(1, first, 2, 1, "[INST] Bye [/INST]")
    assert encode_chat([SYS, HI, HELLO, BYE], "llama-2", tokenizer_of("llama-2")) == expected
    assert encode_chat([HI], "llama-2", tokenizer_of("llama-2")) == llama_2_ids(1, "[INST] Hi [/INST]")


def test_llama_2_strips_every_text_and_joins_neighbours() -> None:
    messages = [Message("user", "  a"), SYS, Message("user", "b\n"), Message("assistant", "\n c "), BYE]
    first = "[INST] <<SYS>>\nSYS\n<</SYS>>\n\n  a\n\nb [/INST] c "
    expected = llama_2_ids(1, first, 2, 1, "[INST] Bye [/INST]")
    assert encode_chat(messages, "llama-2", tokenizer_of("llama-2")) == expected


def test_llama_2_goes_on_with_an_open_answer() -> None:
    expected = llama_2_ids(1, "[INST] Hi [/INST] Hello.")
    assert encode_chat([HI, HELLO], "llama-2", tokenizer_of("llama-2")) == expected


def test_llama_2_puts_an_empty_question_before_an_assistant_that_speaks_first() -> None:
    expected = llama_2_ids(1, "[INST]  [/INST] Hello. ", 2, 1, "[INST] Bye [/INST]")
    assert encode_chat([HELLO, BYE], "llama-2", tokenizer_of("llama-2")) == expected


# chatml, over the vocabulary of the model that comes along


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> Tokenizer:
    return load_tokenizer(smollm2_path)


def by_its_own_template(messages: list[Message], tokenizer: Tokenizer) -> list[int]:
    """What the template in the model's file renders, tokenized as transformers does: control tokens, text between."""
    rendered = "".join(f"\ue000{message.role}\n{message.content}\ue001\n" for message in messages)
    rendered += "\ue000assistant\n"
    ids: list[int] = []
    for part in re.split("([\ue000\ue001])", rendered):
        ids += {"\ue000": [1], "\ue001": [2]}.get(part) or tokenizer.encode(part)
    return ids


def test_chatml_has_the_ids_of_the_models_own_tokenizer(smollm2: Tokenizer) -> None:
    # Stored: the tokenizers library over the vocabulary and merges of the file, on the text that its template renders.
    question = Message("user", "\n7 × 8?\n")
    ids = (
        "1 9690 198 67 19572 2 198 1 4093 198 26843 2 198 1 520 9531 198 19556 30 216 2 198 "
        "1 4093 1116 39 15493 216 40 47 198 2 198 1 520 9531 198"
    )
    assert encode_chat([SYS, HI, HELLO, question], "chatml", smollm2) == [int(i) for i in ids.split()]


@settings(max_examples=200)
@given(messages=conversations(texts(ORDINARY + LIKE_CONTROLS)))
def test_chatml_gives_what_the_models_own_template_gives(smollm2: Tokenizer, messages: list[Message]) -> None:
    if messages[-1].role == "assistant":
        messages = [*messages, BYE]
    assert encode_chat(messages, "chatml", smollm2) == by_its_own_template(messages, smollm2)


def test_chatml_leaves_a_trailing_answer_open_and_adds_no_system_text(smollm2: Tokenizer) -> None:
    ids = encode_chat([HI, Message("assistant", "Hello")], "chatml", smollm2)
    assert ids == [1, 4093, 198, 26843, 2, 198, 1, 520, 9531, 198, 19556]


# What can't be put to a model


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("text", ["\0", "\ud800", "a\udfff\0b", "", " \n"])
def test_odd_text_of_any_author_makes_a_prompt(template: str, text: str, smollm2: Tokenizer) -> None:
    tokenizer = smollm2 if template == "chatml" else tokenizer_of(template)
    messages = [Message("system", text), Message("user", text), Message("assistant", text), Message("user", text)]
    assert encode_chat(messages, template, tokenizer)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "empty"),
        ([SYS], "no user message"),
        ([SYS, HELLO], "no user message"),
        ([HI, Message("tool", "2")], "Message 2 has the role 'tool'.*system, user, assistant"),
        ([HI, HELLO, SYS], "ends with a system message"),
    ],
)
def test_a_conversation_that_cannot_be_answered_is_refused(
    template: str, messages: list[Message], sentence: str
) -> None:
    with pytest.raises(PromptError, match=sentence):
        encode_chat(messages, template, tokenizer_of("mistral-v7"))


def test_an_unknown_template_is_refused_by_a_sentence_that_names_them() -> None:
    with pytest.raises(PromptError, match="'alpaca'.*" + ", ".join(TEMPLATES)):
        encode_chat([HI], "alpaca", tokenizer_of("mistral-v1"))
    mistral = ["mistral-v1", "mistral-v3", "mistral-v3-tekken", "mistral-v7", "mistral-v7-tekken", "mistral-v15"]
    assert list(TEMPLATES) == [*mistral, "llama-2", "chatml"]


@pytest.mark.parametrize(
    ("template", "vocabulary", "sentence"),
    [
        ("mistral-v3", "mistral-v1", r"'mistral-v3' needs the control token \[INST\].*'mistral-v1'"),
        ("mistral-v7", "mistral-v3", r"'mistral-v7' needs the control token \[SYSTEM_PROMPT\].*'mistral-v3'"),
        ("chatml", "mistral-v7", r"'chatml' needs the control token <\|im_start\|>.*'mistral-v7'"),
    ],
)
def test_a_vocabulary_without_the_templates_tokens_is_refused(template: str, vocabulary: str, sentence: str) -> None:
    with pytest.raises(PromptError, match=sentence):
        encode_chat([SYS, HI], template, tokenizer_of(vocabulary))


@pytest.mark.parametrize(
    ("vocabulary", "template"),
    [
        ("mistral-v1", "mistral-v1"),
        ("mistral-v2", "mistral-v3"),
        ("mistral-v3", "mistral-v3"),
        ("mistral-v3-tekken", "mistral-v3-tekken"),
        ("mistral-v7", "mistral-v7"),
    ],
)
def test_a_template_is_guessed_from_the_vocabulary(vocabulary: str, template: str) -> None:
    assert guess_template(tokenizer_of(vocabulary)) == template


class LaterTekken:
    """A Tekken vocabulary of v11: one token for a line break, and control tokens that v3 hasn't."""

    def encode(self, text: str) -> list[int]:
        return [1000 + byte for byte in text.encode()]

    def control_id(self, piece: str) -> int | None:
        return {"[INST]": 3, "[/INST]": 4, "[SYSTEM_PROMPT]": 17, "[/SYSTEM_PROMPT]": 18, "[ARGS]": 32}.get(piece)


def test_the_template_of_v7_is_guessed_for_a_later_tekken_vocabulary() -> None:
    assert guess_template(LaterTekken()) == "mistral-v7-tekken"


def test_chatml_is_guessed_for_the_model_that_comes_along(smollm2: Tokenizer) -> None:
    assert guess_template(smollm2) == "chatml"


# An answer that opens the chat: a greeting, or an imported chat's first message

GREETING = Message("assistant", "What do you want?")


@pytest.mark.parametrize("system", [[], [SYS]], ids=["plain", "with-system"])
@pytest.mark.parametrize("template", [*REFERENCE_TEMPLATES, "llama-2"])
def test_every_template_keeps_an_opening_answer_as_an_answer_of_its_own(template: str, system: list[Message]) -> None:
    tokenizer = tokenizer_of(template)
    ids = encode_chat([*system, GREETING, BYE], template, tokenizer)
    asked = [*system, Message("user", ""), GREETING, BYE]
    has_turns_of_its_own = template == "mistral-v7"  # which needs no question before an answer
    assert (ids == encode_chat(asked, template, tokenizer)) != has_turns_of_its_own
    text = tokenizer.decode(ids)
    assert text.count(GREETING.content) == text.count(BYE.content) == 1
    assert text.index(GREETING.content) < text.index(BYE.content)
    assert not system or "SYS" in text.replace("<<SYS>>", "").replace("<</SYS>>", "")
    later = encode_chat([*system, GREETING, BYE, HELLO, HI], template, tokenizer)
    assert tokenizer.decode(later).count(GREETING.content) == 1


@pytest.mark.parametrize("system", [[], [SYS]], ids=["plain", "with-system"])
def test_mistral_common_has_the_same_ids_for_an_opening_answer_after_an_empty_question(system: list[Message]) -> None:
    for template in REFERENCE_TEMPLATES:
        asked = [*system, Message("user", ""), GREETING, BYE]
        assert encode_chat(asked, template, tokenizer_of(template)) == reference_ids(asked, template)
    assert encode_chat([*system, GREETING, BYE], "mistral-v7", tokenizer_of("mistral-v7")) == reference_ids(
        [*system, GREETING, BYE], "mistral-v7"
    )


def test_chatml_keeps_an_opening_answer_as_its_first_turn(smollm2: Tokenizer) -> None:
    begin, end = smollm2.control_id("<|im_start|>"), smollm2.control_id("<|im_end|>")
    ids = encode_chat([GREETING, BYE], "chatml", smollm2)
    assert ids[: ids.index(end)] == [begin, *smollm2.encode("assistant\nWhat do you want?")]


@pytest.mark.parametrize("system", [[], [SYS]], ids=["plain", "with-system"])
@pytest.mark.parametrize("template", [template for template in TEMPLATES if template != "chatml"])
def test_where_models_know_no_answer_that_opens_a_chat_a_stub_of_a_question_stands_before_it(
    template: str, system: list[Message]
) -> None:
    tokenizer = tokenizer_of(template)
    told = opened([*system, GREETING, BYE], template)
    assert told == [*system, Message("user", OPENING), GREETING, BYE]
    assert opened(told, template) == told
    if template in REFERENCE_TEMPLATES:
        assert encode_chat(told, template, tokenizer) == reference_ids(told, template)
    text = tokenizer.decode(encode_chat(told, template, tokenizer))
    assert text.count(OPENING) == 1
    assert text.index(OPENING) < text.index(GREETING.content) < text.index(BYE.content)


def test_in_chatml_an_opening_answer_needs_no_question() -> None:
    assert opened([SYS, GREETING, BYE], "chatml") == [SYS, GREETING, BYE]
