"""From a conversation to token ids, by a template over a vocabulary.

A prompt is never one string: control tokens are placed by id, and each text is encoded by itself, so text that
looks like a control token stays text.
"""

from collections.abc import Sequence
from typing import get_args

from menny.engine_protocols import OPENING, Tokenizer
from menny.errors import PromptError
from menny.messages import Message, Role
from menny.prompts.markers import neutralise
from menny.prompts.reasoning import shows_words, spelled, thought_ids, with_words, word_segments
from menny.prompts.templates import (
    IM_START,
    INST,
    SETTINGS,
    SYSTEM_PROMPT,
    TEMPLATES,
    Control,
    Effort,
    Template,
    Thought,
)


def encode_chat(
    messages: Sequence[Message],
    template: str | Template,
    tokenizer: Tokenizer,
    reasoning_effort: Effort = "none",
    words: str = "",
) -> list[int]:
    """Encode a prompt that the model answers, or continues where the last message is an assistant's.

    `words` that ask for a thought stand at the end of the system text; a template with an effort has no place for them.
    Raises PromptError for a conversation without a user's message or with nothing to answer, for an unknown role or
    template, and for a vocabulary that lacks a control token of the template.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    _check(messages)
    asked: dict[str, object] = {}
    if chosen.takes_effort:
        asked["effort"] = reasoning_effort
    elif words and shows_words(chosen, tokenizer):
        asked["words"] = word_segments(words)
    elif words:
        messages = with_words(messages, words)
    ids: list[int] = []
    for segment in chosen.lay_out(messages, **asked):
        if isinstance(segment, Control):
            ids.append(_id_of(segment, chosen, tokenizer))
        elif isinstance(segment, Thought):
            ids.extend(_thought(segment, tokenizer))
        else:
            ids.extend(tokenizer.encode(segment))
    return ids


def opened(messages: Sequence[Message], template: str | Template) -> list[Message]:
    """A conversation for a template: where its models have seen no answer that opens one, a stub stands before that.

    A greeting is then a turn of its own, in its place, in every template: alone or after a system text.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    first = next((index for index, message in enumerate(messages) if message.role != "system"), 0)
    begins = chosen.user_begins and len(messages) > first and messages[first].role == "assistant"
    return [*messages[:first], *([Message("user", OPENING)] if begins else []), *messages[first:]]


def encode_open_chat(
    messages: Sequence[Message],
    template: str | Template,
    tokenizer: Tokenizer,
    answer_ids: Sequence[int] = (),
    reasoning_effort: Effort = "none",
    words: str = "",
    is_closed: bool = False,
) -> tuple[list[int], Sequence[int]]:
    """Encode a prompt and, apart from it, the answer that the model is to continue, if the chat ends with one.

    The prompt is that of the question, as it was when the model wrote the answer. The answer's ids are those of its
    text, to the last space, or `answer_ids`, which the model had produced. A thought stands before the text; without a
    text it is what the model continues, unless it `is_closed`. Raises PromptError as `encode_chat` does.
    """
    chosen = template if isinstance(template, Template) else find_template(template)
    if len(messages) < 2 or messages[-1].role != "assistant" or messages[-2].role != "user":
        return encode_chat(messages, chosen, tokenizer, reasoning_effort, words), ()
    prompt = encode_chat(messages[:-1], chosen, tokenizer, reasoning_effort, words)
    marked, ids = encode_answer(messages[-1], chosen, tokenizer, answer_ids, is_closed)
    return prompt + marked, ids


def encode_answer(
    answer: Message, template: Template, tokenizer: Tokenizer, answer_ids: Sequence[int] = (), is_closed: bool = False
) -> tuple[list[int], Sequence[int]]:
    """Encode an answer that the model is to continue: what stands before it, and the ids that it goes on from."""
    text = neutralise(answer.content) if template.has_text_markers else answer.content
    ids = answer_ids if answer_ids and text == answer.content else tokenizer.encode(text)
    if not answer.thought:
        return [], ids
    thought = Thought(answer.thought, is_closed=is_closed or bool(text))
    if marked := _thought(thought, tokenizer):
        return (marked, ids) if thought.is_closed else (marked[:1], marked[1:])
    written = neutralise(spelled(thought)) if template.has_text_markers else spelled(thought)
    return (tokenizer.encode(written), ids) if thought.is_closed else ([], tokenizer.encode(written))


def _thought(thought: Thought, tokenizer: Tokenizer) -> list[int]:
    """The ids of a thought between its marks; none where the vocabulary has no tokens for them."""
    marks = thought_ids(tokenizer)
    if marks is None:
        return []
    opens, closes = marks
    return [opens, *tokenizer.encode(thought.text), *([closes] if thought.is_closed else [])]


def find_template(name: str) -> Template:
    """Find a template by its name. Raises PromptError, which lists all names."""
    if name not in TEMPLATES:
        raise PromptError(f"There is no prompt template {name!r}: choose one of {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def guess_template(tokenizer: Tokenizer) -> str:
    """Guess the template that a vocabulary was made for: by the version in its file, its control tokens, and the marks
    in the chat template that came along.

    SentencePiece and Tekken vocabularies with `[INST]` differ in a line break: SentencePiece puts a space before every
    text, so it takes two tokens there and one in Tekken. Tekken files of v3 name `[SYSTEM_PROMPT]` too, though their
    models never saw it: without a chat template, only with `[ARGS]`, which came later, it is surely in use. A model of
    v7 between the two is taken for v3, which it understands. A vocabulary with no control tokens for turns is that of
    the first Mistral models or of Llama 2, which differ in `<<SYS>>`; Mistral is what Menny is for.
    """
    written = str(getattr(tokenizer, "chat_template", ""))

    def has(*controls: Control) -> bool:
        return all(tokenizer.control_id(control.piece) is not None for control in controls)

    def uses(control: Control) -> bool:
        """True where the vocabulary has the token, and a chat template that tells of turns names it."""
        tells = INST.piece in written or IM_START.piece in written
        return has(control) and (not tells or control.piece in written)

    if uses(IM_START) or (has(IM_START) and not has(INST)):
        return "chatml"
    if not has(INST):
        return "llama-2" if "<<SYS>>" in written else "mistral-v1"
    version = getattr(tokenizer, "template_version", None)  # which only vocabularies of Mistral's have
    if version in _BY_VERSION and len(tokenizer.encode("\n")) == 1:
        return _BY_VERSION[version]
    if len(tokenizer.encode("\n")) > 1:
        return "mistral-v7" if uses(SYSTEM_PROMPT) else "mistral-v3"
    if uses(SETTINGS):
        return "mistral-v15"
    is_told = SYSTEM_PROMPT.piece in written and has(SYSTEM_PROMPT)
    return "mistral-v7-tekken" if is_told or (uses(SYSTEM_PROMPT) and has(ARGS)) else "mistral-v3-tekken"


ARGS = Control("[ARGS]")
_BY_VERSION = {  # of Tekken vocabularies
    "v3": "mistral-v3-tekken",
    "v7": "mistral-v7-tekken",
    "v11": "mistral-v7-tekken",
    "v13": "mistral-v7-tekken",
    "v15": "mistral-v15",
}


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise PromptError("The conversation is empty: it needs a user message.")
    roles = get_args(Role)
    for number, message in enumerate(messages, start=1):
        if message.role not in roles:
            raise PromptError(f"Message {number} has the role {message.role!r}: it must be one of {', '.join(roles)}.")
    spoken = [message.role for message in messages if message.role != "system"]
    if "user" not in spoken:
        raise PromptError("The conversation has no user message: add one for the model to answer.")
    if messages[-1].role == "system" and spoken[-1] == "assistant":
        raise PromptError("The conversation ends with a system message after an answer: end it with a user message.")


def _id_of(control: Control, template: Template, tokenizer: Tokenizer) -> int:
    found = tokenizer.control_id(control.piece)
    if found is None:
        raise PromptError(
            f"The template {template.name!r} needs the control token {control.piece}, which this model's vocabulary "
            f"lacks: choose another template for the model (this vocabulary looks like {guess_template(tokenizer)!r})."
        )
    return found
