"""From a conversation to token ids, by a template over a vocabulary.

No prompt ever exists as one string: control tokens are placed by id, and each text is encoded by itself, so text that
looks like a control token stays text.
"""

from collections.abc import Sequence
from typing import get_args

from menny.engine_protocols import Tokenizer
from menny.errors import PromptError
from menny.messages import Message, Role
from menny.prompts.markers import neutralise
from menny.prompts.templates import (
    END_THINK,
    IM_START,
    INST,
    SETTINGS,
    SYSTEM_PROMPT,
    TEMPLATES,
    THINK,
    Control,
    Effort,
    Template,
    Thought,
)


def encode_chat(
    messages: Sequence[Message], template: str | Template, tokenizer: Tokenizer, reasoning_effort: Effort = "none"
) -> list[int]:
    """The ids of a prompt that the model answers, or, where the last message is an assistant's, goes on with.

    Raises PromptError for a conversation without a user's message, one that leaves nothing to answer, a role or a
    template that there is not, and a vocabulary that lacks a control token of the template.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    _check(messages)
    ids: list[int] = []
    for segment in chosen.lay_out(messages, reasoning_effort) if chosen.takes_effort else chosen.lay_out(messages):
        if isinstance(segment, Control):
            ids.append(_id_of(segment, chosen, tokenizer))
        elif isinstance(segment, Thought):
            ids.extend(_thought(segment, tokenizer))
        else:
            ids.extend(tokenizer.encode(segment))
    return ids


def encode_open_chat(
    messages: Sequence[Message],
    template: str | Template,
    tokenizer: Tokenizer,
    answer_ids: Sequence[int] = (),
    reasoning_effort: Effort = "none",
) -> tuple[list[int], Sequence[int]]:
    """The ids of a prompt, and those of the answer behind them that the model goes on with, if the chat ends with one.

    As the model was when it wrote the answer, the answer's ids stand behind those of a prompt that asks for one. They
    are the text's, to its last space, or `answer_ids`, with which the model wrote it. A thought stands before the text,
    unclosed where there is no text yet. Raises PromptError as `encode_chat` does.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    if len(messages) < 2 or messages[-1].role != "assistant" or messages[-2].role != "user":
        return encode_chat(messages, chosen, tokenizer, reasoning_effort), ()
    answer = messages[-1]
    text = answer.content
    harmless = neutralise(text) if chosen.has_text_markers else text
    ids = answer_ids if answer_ids and harmless == text else tokenizer.encode(harmless)
    prompt = encode_chat(messages[:-1], chosen, tokenizer, reasoning_effort)
    if answer.thought and chosen.has_thoughts:
        prompt += _thought(Thought(answer.thought, is_closed=bool(text)), tokenizer)
    return prompt, ids


def _thought(thought: Thought, tokenizer: Tokenizer) -> list[int]:
    opens, closes = tokenizer.control_id(THINK.piece), tokenizer.control_id(END_THINK.piece)
    if opens is None or closes is None:
        return []
    return [opens, *tokenizer.encode(thought.text), *([closes] if thought.is_closed else [])]


def find_template(name: str) -> Template:
    """The template of that name; PromptError names those there are."""
    if name not in TEMPLATES:
        raise PromptError(f"There is no prompt template {name!r}: choose one of {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def guess_template(tokenizer: Tokenizer) -> str:
    """The name of the template that a vocabulary was made for: by the version in its file, else by its control tokens.

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
    version = getattr(tokenizer, "template_version", None)  # which only vocabularies of Mistral's have
    if version in _BY_VERSION and len(tokenizer.encode("\n")) == 1:
        return _BY_VERSION[version]
    if len(tokenizer.encode("\n")) > 1:
        return "mistral-v7" if has(SYSTEM_PROMPT.piece) else "mistral-v3"
    if has(SETTINGS.piece):
        return "mistral-v15"
    return "mistral-v7-tekken" if has(SYSTEM_PROMPT.piece) and has("[ARGS]") else "mistral-v3-tekken"


_BY_VERSION = {  # of Tekken vocabularies
    "v3": "mistral-v3-tekken",
    "v7": "mistral-v7-tekken",
    "v11": "mistral-v7-tekken",
    "v13": "mistral-v7-tekken",
    "v15": "mistral-v15",
}


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
