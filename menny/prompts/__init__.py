"""Prompt templates: a conversation becomes token ids, and no text that anybody wrote can become a turn of its own.

A template lays a conversation out as a row of segments: a `Control` is one token, found by its name; a string is
text, encoded by itself.
"""

from menny.prompts.encoding import encode_answer, encode_chat, encode_open_chat, find_template, guess_template, opened
from menny.prompts.markers import neutralise
from menny.prompts.reasoning import THOUGHT_MARKERS, our_words, reasoning_words, thought_ids
from menny.prompts.templates import CONTROLS, TEMPLATES, Control, Effort, Template, Thought

__all__ = [
    "CONTROLS",
    "TEMPLATES",
    "THOUGHT_MARKERS",
    "Control",
    "Effort",
    "Template",
    "Thought",
    "encode_answer",
    "encode_chat",
    "encode_open_chat",
    "find_template",
    "guess_template",
    "neutralise",
    "opened",
    "our_words",
    "reasoning_words",
    "thought_ids",
]
