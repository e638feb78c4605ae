"""The words that ask a model to think before it answers, put after the persona's.

Reasoning models were trained with such words as their whole system text, and think only where they stand. A model's own
come with it, in SYSTEM_PROMPT.txt; ours stand in where it has none, with the marks that its vocabulary knows.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from menny.engine_protocols import Tokenizer
from menny.messages import Message
from menny.prompts.templates import BLANK_LINE, END_THINK, THINK, Segment, Template, Thought

THOUGHT_MARKERS = (("<think>", "</think>"), (THINK.piece, END_THINK.piece))  # in the text of models without the tokens

HEADING = "# HOW TO THINK AND ANSWER"
FIRST = (
    "Before you answer, think: write an inner monologue, a draft of your reasoning, until you know what to answer. "
    "Think and answer in the language of the question. The answer keeps to all that is said above."
)
FORM = "Whatever you write has this form:"
INSIDE = (
    "Your thoughts, as on scratch paper: work through the question, try ideas and check them. Be as informal and as "
    "long as you need to be sure of the answer."
)
AFTER = "Then the answer, which can be read without the thoughts."

_MARKED = re.compile(rf"(.*?){re.escape(THINK.piece)}(.*?){re.escape(END_THINK.piece)}(.*)", re.DOTALL)


def thought_ids(tokenizer: Tokenizer) -> tuple[int, int] | None:
    """Return the ids of `[THINK]` and `[/THINK]`; None where a vocabulary lacks them."""
    opens, closes = tokenizer.control_id(THINK.piece), tokenizer.control_id(END_THINK.piece)
    return None if opens is None or closes is None else (opens, closes)


def reasoning_words(tokenizer: Tokenizer, own: str = "") -> str:
    """Return the words that ask a model to think: its own, else ours with the marks of its vocabulary."""
    return own.strip() or our_words(has_tokens=thought_ids(tokenizer) is not None)


def our_words(*, has_tokens: bool) -> str:
    """Return our words, with `[THINK]` for vocabularies that have it as a token, else with `<think>`."""
    opens, closes = THOUGHT_MARKERS[1] if has_tokens else THOUGHT_MARKERS[0]
    line = "" if has_tokens else "\n"
    return f"{HEADING}\n\n{FIRST}\n\n{FORM}{line}{opens}{line}{INSIDE}{line}{closes}{line}{AFTER}"


def word_segments(words: str) -> Sequence[Segment]:
    """Return the words as segments, with the thought that they show between the control tokens."""
    shown = _MARKED.fullmatch(words)
    if shown is None:
        return [words]
    before, thought, after = shown.groups()
    return [segment for segment in (before, Thought(thought), after) if segment]


def with_words(messages: Sequence[Message], words: str) -> list[Message]:
    """Return messages with the words below the first system text, for templates that have no tokens for thoughts."""
    if messages and messages[0].role == "system":
        first = messages[0]
        return [replace(first, content=first.content + BLANK_LINE + words), *messages[1:]]
    return [Message("system", words), *messages]


def spelled(thought: Thought) -> str:
    """Return a thought as text, for models that write their marks."""
    opens, closes = THOUGHT_MARKERS[0]
    return (
        f"{opens}\n{thought.text.rstrip()}\n{closes}{BLANK_LINE}" if thought.is_closed else f"{opens}\n{thought.text}"
    )


def shows_words(template: Template, tokenizer: Tokenizer) -> bool:
    """Return True where the words' thought is put between control tokens."""
    return template.takes_words and thought_ids(tokenizer) is not None
