"""The layouts of conversations, one a family of models: each version says only what it changes.

The mistral templates give the ids of mistral-common, which is the reference; beyond it they take a conversation that
it refuses: an empty answer (a reply stopped before its first token) is an empty turn, and a system message may
follow an answer. Llama 2's layout is that of its published `generation.py`; ChatML's is OpenAI's description.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Literal

from menny.messages import Message
from menny.prompts.markers import neutralise

BLANK_LINE = "\n\n"


@dataclass(frozen=True, slots=True)
class Control:
    """A segment that is one control token, such as `[INST]` or `</s>`."""

    piece: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A segment with a model's thought: between `[THINK]` and `[/THINK]` where its vocabulary has these, else left out.

    One that isn't closed is gone on with.
    """

    text: str
    is_closed: bool = True


Segment = Control | Thought | str
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]  # of reasoning, in mistral-v15


@dataclass(frozen=True, slots=True)
class Template:
    """The layout of a conversation that a family of models was trained on. `lay_out` needs no tokenizer.

    `takes_effort`: the prompt says how much to reason, and `lay_out` is given that too. `takes_words`: `lay_out` is
    given segments that ask for a thought, to stand at the end of the first system text. `user_begins`: models of it
    have seen no conversation that begins with an answer.
    """

    name: str
    lay_out: Callable[..., Iterator[Segment]]
    has_text_markers: bool = False  # its turns are marked by ordinary text, which an author could write
    has_thoughts: bool = False  # it shows the model its earlier thoughts
    takes_effort: bool = False
    takes_words: bool = False  # the system text may show what a thought looks like, between the control tokens
    user_begins: bool = True


BOS, EOS = Control("<s>"), Control("</s>")
INST, END_INST = Control("[INST]"), Control("[/INST]")
SYSTEM_PROMPT, END_SYSTEM_PROMPT = Control("[SYSTEM_PROMPT]"), Control("[/SYSTEM_PROMPT]")
THINK, END_THINK = Control("[THINK]"), Control("[/THINK]")
SETTINGS, END_SETTINGS = Control("[MODEL_SETTINGS]"), Control("[/MODEL_SETTINGS]")
IM_START, IM_END = Control("<|im_start|>"), Control("<|im_end|>")
CONTROLS: tuple[str, ...] = tuple(  # the names of all that a prompt may have
    control.piece
    for pair in (
        *((BOS, EOS), (INST, END_INST), (SYSTEM_PROMPT, END_SYSTEM_PROMPT), (THINK, END_THINK)),
        *((SETTINGS, END_SETTINGS), (IM_START, IM_END)),
    )
    for control in pair
)


# What the templates share


def _system_text(messages: Iterable[Message]) -> str:
    return BLANK_LINE.join(message.content for message in messages if message.role == "system" and message.content)


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """Neighbours of one role as one message, their texts a blank line apart; system messages stay as they are."""
    for role, group in groupby(messages, key=lambda message: message.role):
        if role == "system":
            yield from group
        else:
            parts = list(group)
            texts, thoughts = ([getattr(one, name) for one in parts] for name in ("content", "thought"))
            yield Message(role, BLANK_LINE.join(filter(None, texts)), BLANK_LINE.join(filter(None, thoughts)))


def _turns(messages: Iterable[Message]) -> list[Message]:
    """User's and assistant's turns only; an assistant that speaks first gets an empty question before it."""
    turns = [message for message in _joined(messages) if message.role != "system"]
    return turns if turns[0].role == "user" else [Message("user", ""), *turns]


def _below(system: str, text: str) -> str:
    return system + BLANK_LINE + text if system else text


# The templates of Mistral


def _mistral_v1(messages: Sequence[Message]) -> Iterator[Segment]:
    """Mistral 7B v0.1 and v0.2, Mixtral 8x7B: the system text stands before the first question; `[INST]` is text."""
    turns = _turns(messages)
    yield BOS
    for index, turn in enumerate(turns):
        if turn.role == "user":
            text = _below(_system_text(messages), turn.content) if index == 0 else turn.content
            yield f"[INST] {neutralise(text)} [/INST]"
        else:
            yield neutralise(turn.content)
            if index < len(turns) - 1:
                yield EOS


def _mistral_v3(messages: Sequence[Message]) -> Iterator[Segment]:
    """Mistral 7B v0.3 and, over a Tekken vocabulary, Nemo: the system text stands before the last question."""
    turns = _turns(messages)
    last_question = max(index for index, turn in enumerate(turns) if turn.role == "user")
    yield BOS
    for index, turn in enumerate(turns):
        if index == last_question:
            yield from _question(_below(_system_text(messages), turn.content))
        elif turn.role == "user":
            yield from _question(turn.content)
        else:
            yield from _answer(turn.content, is_open=index == len(turns) - 1)


def _mistral_v7(messages: Sequence[Message]) -> Iterator[Segment]:
    """Mistral Large 2411 and Small 3: a system message is a turn of its own, in its place."""
    turns = list(_joined(messages))
    yield BOS
    for index, turn in enumerate(turns):
        if turn.role == "system":
            yield from (SYSTEM_PROMPT, turn.content, END_SYSTEM_PROMPT)
        elif turn.role == "user":
            yield from _question(turn.content)
        else:
            yield from _answer(turn.content, is_open=index == len(turns) - 1)


def _mistral_v7_tekken(messages: Sequence[Message], words: Sequence[Segment] = ()) -> Iterator[Segment]:
    """Mistral Small 3, Ministral 3 and Magistral (v7, v11 and v13 over Tekken): v7, with thoughts before answers."""
    turns = list(_joined(messages))
    yield BOS
    if words and turns[0].role != "system":
        yield from (SYSTEM_PROMPT, *words, END_SYSTEM_PROMPT)
    for index, turn in enumerate(turns):
        is_open = index == len(turns) - 1
        if turn.role == "system":
            asked = _after(turn.content, words) if index == 0 and words else [turn.content]
            yield from (SYSTEM_PROMPT, *asked, END_SYSTEM_PROMPT)
        elif turn.role == "user":
            yield from _question(turn.content)
        elif turn.thought:
            yield Thought(turn.thought, is_closed=not is_open or bool(turn.content))
            yield from (turn.content, *(() if is_open else (EOS,)))
        else:
            yield from _answer(turn.content, is_open)


def _after(text: str, words: Sequence[Segment]) -> list[Segment]:
    """The words below a system text, encoded as one with it up to their first control token."""
    first, *rest = words
    return [_below(text, first), *rest] if isinstance(first, str) else [text + BLANK_LINE, *words]


def _mistral_v15(messages: Sequence[Message], effort: Effort = "none") -> Iterator[Segment]:
    """Mistral Medium 3.5: v13, with the effort of reasoning before the first question."""
    is_settled = False
    for segment in _mistral_v7_tekken(messages):
        if segment == INST and not is_settled:
            yield from (SETTINGS, json.dumps({"reasoning_effort": effort}), END_SETTINGS)
            is_settled = True
        yield segment


def _question(text: str) -> Iterator[Segment]:
    yield from (INST, text, END_INST)


def _answer(text: str, is_open: bool) -> Iterator[Segment]:
    yield text.rstrip(" ")
    if not is_open:
        yield EOS


# The templates of others


def _llama_2(messages: Sequence[Message]) -> Iterator[Segment]:
    """Llama 2: a question and its answer are one text, with a `<s>` of their own; the system text is in the first."""
    turns = _turns([message for message in messages if message.role != "system"])
    system = _system_text(messages)
    for index in range(0, len(turns), 2):
        question = neutralise(turns[index].content)
        if system and index == 0:
            question = f"<<SYS>>\n{neutralise(system)}\n<</SYS>>\n\n{question}"
        answer = "".join(neutralise(turn.content.strip()) for turn in turns[index + 1 : index + 2])
        text = f"[INST] {question.strip()} [/INST] {answer}"
        yield BOS
        if index + 2 < len(turns):
            yield from (text + " ", EOS)
        else:
            yield text.rstrip()


def _chatml(messages: Sequence[Message]) -> Iterator[Segment]:
    """ChatML, as SmolLM2, Qwen and many others use it: every message is a turn. No `<s>`, no system text of its own."""
    last = len(messages) - 1
    for index, message in enumerate(messages):
        yield from (IM_START, f"{message.role}\n{message.content}")
        if message.role != "assistant" or index < last:
            yield from (IM_END, "\n")
    if messages[last].role != "assistant":
        yield from (IM_START, "assistant\n")


TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        template.name: template
        for template in (
            Template("mistral-v1", _mistral_v1, has_text_markers=True),
            Template("mistral-v3", _mistral_v3),
            Template("mistral-v3-tekken", _mistral_v3),  # v3 over another kind of vocabulary
            Template("mistral-v7", _mistral_v7),
            Template("mistral-v7-tekken", _mistral_v7_tekken, has_thoughts=True, takes_words=True),
            Template("mistral-v15", _mistral_v15, has_thoughts=True, takes_effort=True),
            Template("llama-2", _llama_2, has_text_markers=True),
            Template("chatml", _chatml, user_begins=False),
        )
    }
)
