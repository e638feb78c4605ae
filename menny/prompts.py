"""Prompt templates: a conversation becomes token ids, and nothing that anybody wrote can become a turn of its own.

A template lays a conversation out as a row of segments: a `Control` is one token, found by its name; a string is
text, encoded by itself. No prompt ever exists as one string, so text that looks like a control token stays text.

Where the markers of a template are ordinary text (`[INST]` in mistral-v1 and llama-2, `<<SYS>>` in llama-2), forged
ones are neutralised: see `neutralise`.

The mistral templates give the ids of mistral-common, which is the reference; beyond it they take a conversation that
it refuses: an empty answer (a reply stopped before its first token) is an empty turn, and a system message may
follow an answer. Llama 2's layout is that of its published `generation.py`; ChatML's is OpenAI's description.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import get_args

from menny.engine_protocols import Tokenizer
from menny.errors import PromptError
from menny.messages import Message, Role

BLANK_LINE = "\n\n"


@dataclass(frozen=True, slots=True)
class Control:
    """A segment that is one control token, such as `[INST]` or `</s>`."""

    piece: str


Segment = Control | str


@dataclass(frozen=True, slots=True)
class Template:
    """The layout of a conversation that a family of models was trained on. `lay_out` needs no tokenizer."""

    name: str
    lay_out: Callable[[Sequence[Message]], Iterator[Segment]]
    has_text_markers: bool = False  # its turns are marked by ordinary text, which an author could write


BOS, EOS = Control("<s>"), Control("</s>")
INST, END_INST = Control("[INST]"), Control("[/INST]")
SYSTEM_PROMPT, END_SYSTEM_PROMPT = Control("[SYSTEM_PROMPT]"), Control("[/SYSTEM_PROMPT]")
IM_START, IM_END = Control("<|im_start|>"), Control("<|im_end|>")


def encode_chat(messages: Sequence[Message], template: str | Template, tokenizer: Tokenizer) -> list[int]:
    """The ids of a prompt that the model answers, or, where the last message is an assistant's, goes on with.

    Raises PromptError for a conversation without a user's message, one that leaves nothing to answer, a role or a
    template that there is not, and a vocabulary that lacks a control token of the template.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    _check(messages)
    ids: list[int] = []
    for segment in chosen.lay_out(messages):
        if isinstance(segment, Control):
            ids.append(_id_of(segment, chosen, tokenizer))
        else:
            ids.extend(tokenizer.encode(segment))
    return ids


def encode_open_chat(
    messages: Sequence[Message], template: str | Template, tokenizer: Tokenizer, answer_ids: Sequence[int] = ()
) -> tuple[list[int], Sequence[int]]:
    """The ids of a prompt, and those of the answer behind them that the model goes on with, if the chat ends with one.

    As the model was when it wrote the answer, the answer's ids stand behind those of a prompt that asks for one. They
    are the text's, to its last space, or `answer_ids`, with which the model wrote it. Raises PromptError as
    `encode_chat` does.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    if len(messages) < 2 or messages[-1].role != "assistant" or messages[-2].role != "user":
        return encode_chat(messages, chosen, tokenizer), ()
    text = messages[-1].content
    harmless = neutralise(text) if chosen.has_text_markers else text
    ids = answer_ids if answer_ids and harmless == text else tokenizer.encode(harmless)
    return encode_chat(messages[:-1], chosen, tokenizer), ids


def find_template(name: str) -> Template:
    """The template of that name; PromptError names the six there are."""
    if name not in TEMPLATES:
        raise PromptError(f"There is no prompt template {name!r}: choose one of {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def guess_template(tokenizer: Tokenizer) -> str:
    """The name of the template that a vocabulary was made for, judged by the control tokens in it.

    SentencePiece and Tekken vocabularies with `[INST]` are told apart by a line break: SentencePiece sets a space
    before every text, so it takes two tokens there and one in Tekken. Tekken files of v3 name `[SYSTEM_PROMPT]` too,
    though their models never saw it: only with `[ARGS]`, which came later, is it surely in use there. A model of v7
    between the two is taken for v3, which it understands. A vocabulary with no control tokens for turns is that of
    the first Mistral models or of Llama 2, which are the same in this; Mistral is what Menny is for.
    """

    def has(piece: str) -> bool:
        return tokenizer.control_id(piece) is not None

    if has(IM_START.piece):
        return "chatml"
    if not has(INST.piece):
        return "mistral-v1"
    if len(tokenizer.encode("\n")) > 1:
        return "mistral-v7" if has(SYSTEM_PROMPT.piece) else "mistral-v3"
    return "mistral-v7" if has(SYSTEM_PROMPT.piece) and has("[ARGS]") else "mistral-v3-tekken"


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise PromptError("The conversation is empty: it needs a message of the user's.")
    roles = get_args(Role)
    for number, message in enumerate(messages, start=1):
        if message.role not in roles:
            raise PromptError(f"Message {number} has the role {message.role!r}: it must be one of {', '.join(roles)}.")
    spoken = [message.role for message in messages if message.role != "system"]
    if "user" not in spoken:
        raise PromptError("The conversation has no message of the user's: add one for the model to answer.")
    if messages[-1].role == "system" and spoken[-1] == "assistant":
        raise PromptError("The conversation ends with a system message after an answer: end it with the user's.")


def _id_of(control: Control, template: Template, tokenizer: Tokenizer) -> int:
    found = tokenizer.control_id(control.piece)
    if found is None:
        raise PromptError(
            f"The template {template.name!r} needs the control token {control.piece}, which this model's vocabulary "
            f"lacks: choose another template for the model (this vocabulary looks like {guess_template(tokenizer)!r})."
        )
    return found


# What the templates share


def _system_text(messages: Iterable[Message]) -> str:
    return BLANK_LINE.join(message.content for message in messages if message.role == "system" and message.content)


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """Neighbours of one role as one message, their texts a blank line apart; system messages stay as they are."""
    for role, group in groupby(messages, key=lambda message: message.role):
        if role == "system":
            yield from group
        else:
            yield Message(role, BLANK_LINE.join(message.content for message in group if message.content))


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
    """Mistral Large 2411 and Small 3: a system message is a turn of its own, where it was said."""
    turns = list(_joined(messages))
    yield BOS
    for index, turn in enumerate(turns):
        if turn.role == "system":
            yield from (SYSTEM_PROMPT, turn.content, END_SYSTEM_PROMPT)
        elif turn.role == "user":
            yield from _question(turn.content)
        else:
            yield from _answer(turn.content, is_open=index == len(turns) - 1)


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
            Template("llama-2", _llama_2, has_text_markers=True),
            Template("chatml", _chatml),
        )
    }
)


# Forged turns: markers that are ordinary text in mistral-v1 and llama-2

_OPEN, _CLOSE = "[［﹇⁅⟦【〔〚❲", "]］﹈⁆⟧】〕〛❳"
_OPEN_ANGLE, _CLOSE_ANGLE = "<＜﹤", ">＞﹥"
_IN_BRACKETS = re.compile(rf"[{re.escape(_OPEN)}]([^{re.escape(_OPEN + _CLOSE)}]*)[{re.escape(_CLOSE)}]")
_IN_ANGLES = re.compile(
    rf"[{_OPEN_ANGLE}]([^\w{_OPEN_ANGLE}{_CLOSE_ANGLE}]*+)[{_OPEN_ANGLE}]"
    rf"([^{_OPEN_ANGLE}{_CLOSE_ANGLE}]*)"
    rf"[{_CLOSE_ANGLE}]([^\w{_OPEN_ANGLE}{_CLOSE_ANGLE}]*+)[{_CLOSE_ANGLE}]"
)


def neutralise(text: str) -> str:
    """Takes the brackets off every `[INST]`, `[/INST]`, `<<SYS>>` and `<</SYS>>` in a text: `(INST)`, `((SYS))`.

    mistral-v1 and llama-2 have no control tokens for these, so a text that holds one would be a turn to the model. A
    marker counts in any case and width, and with blanks, accents, punctuation or invisible characters strewn in it.
    Brackets nested in brackets can't hide one: the innermost pair counts, and a parenthesis builds no marker. Letters
    of other alphabets that look like these are left as they are: to the model they are other tokens.
    """

    def unbracket(match: re.Match[str]) -> str:
        return f"({match[1]})" if _letters(match[1]) in ("inst", "/inst") else match[0]

    def unbracket_angles(match: re.Match[str]) -> str:
        before, name, after = match.groups()
        return f"({before}({name}){after})" if _letters(name) in ("sys", "/sys") else match[0]

    return _IN_ANGLES.sub(unbracket_angles, _IN_BRACKETS.sub(unbracket, text))


def _letters(text: str) -> str:
    """What is left of a text as plain small letters, digits and slashes."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum() or c == "/")
