"""Thoughts: where a reasoning model's thought ends and its answer begins, and how long it may think.

Vocabularies with `[THINK]` and `[/THINK]` mark a thought by these tokens, and no text can: a splitter goes by their ids
alone. Other models write `<think>` and `</think>` as text, at the very beginning of a reply. Servers that tell thoughts
apart send them so (`Chunk.thought`).
"""

import re
from dataclasses import dataclass
from typing import Literal

from menny.engine_protocols import Chunk, Tokenizer
from menny.prompts import THOUGHT_MARKERS, Effort, thought_ids

Choice = Literal["auto", "on", "off"]
BUDGET = 4096  # tokens of a thought

# Some chat templates open the thought in the prompt: then only its end is seen, on a line of its own.
_END_ALONE = re.compile(r"(?:^|\n)[^\S\n]*</think>[^\S\n]*\n")


@dataclass(frozen=True, slots=True)
class Thinking:
    """Whether a model is asked to think before it answers, and for how many tokens.

    `is_reasoner` and `words` come from the model's files: whether it was trained to think, and its own words that ask
    for it. `auto` lets a reasoning model think, and no other.
    """

    choice: Choice = "auto"
    budget: int = BUDGET
    is_reasoner: bool = False
    words: str = ""
    effort: Effort = "high"

    @property
    def is_on(self) -> bool:
        return self.choice == "on" or (self.choice == "auto" and self.is_reasoner)


class ThoughtSplitter:
    """Splits a stream into thought and answer: the same two, in whatever pieces the stream comes.

    `thought` and `text` are those of the whole reply, with what it goes on from. Where text marks a thought, the blanks
    around the marks belong to neither.
    """

    def __init__(self, tokenizer: Tokenizer, thought: str = "", text: str = "", is_closed: bool = False) -> None:
        """Begin with a reply's thought and text so far; `is_closed`: the thought has ended, also without a text."""
        marks = thought_ids(tokenizer)
        self._opens, self._closes = marks or (-1, -1)
        self._is_by_token = marks is not None
        self._is_apart = False  # a server tells the two apart
        self.thought, self.text = thought, text
        self.is_thinking = bool(thought) and not text and not is_closed
        self._has_begun = bool(thought or text)
        self._may_end_alone = not self._has_begun and not self._is_by_token
        self._strips = not self._is_by_token and bool(thought) and not text
        self._closer = THOUGHT_MARKERS[0][1]
        self._held = ""  # what may be the beginning of a mark
        if not self._is_by_token and not thought and text.strip() and _may_open(text):  # it was stopped within one
            self._held, self.text, self._has_begun = text, "", False

    @property
    def has_thought(self) -> bool:
        """True where there is a thought, or one has begun."""
        return bool(self.thought) or self.is_thinking

    def is_mark(self, chunk: Chunk) -> bool:
        """Return True for a chunk whose token begins or ends a thought."""
        return self._is_by_token and chunk.token in (self._opens, self._closes)

    def add(self, chunk: Chunk, text: str) -> None:
        """Take in a chunk; `text` is what it adds after the seam."""
        if apart := str(getattr(chunk, "thought", "")):
            self._is_apart = self._has_begun = self.is_thinking = True
            self._strips, self._may_end_alone = True, False
            self._think(apart)
        if self._is_by_token:
            self._add_by_token(chunk, text)
        elif not self._is_apart:
            self._held += text
            self._read_held()
        elif text:
            self.is_thinking = False
            self.finish()
            self._answer(text)

    def finish(self) -> None:
        """Take what was held back for what it turned out to be; half a mark at a thought's end is written anew."""
        held, self._held = self._held, ""
        if not self.is_thinking:
            self._answer(held)

    def _add_by_token(self, chunk: Chunk, text: str) -> None:
        """Add a chunk's text to what came before its token, if that is a mark."""
        if self.is_thinking:
            self.thought += text
        else:
            self.text += text
        if chunk.token == self._opens:
            self.thought += "\n\n" if self.thought and not self.is_thinking else ""
            self.is_thinking = True
        elif chunk.token == self._closes:
            self.is_thinking = False

    def _read_held(self) -> None:
        if not self._has_begun:
            begun = self._held.lstrip()
            opened = next((pair for pair in THOUGHT_MARKERS if begun.startswith(pair[0])), None)
            if opened:
                self._closer, self._held = opened[1], begun.removeprefix(opened[0])
                self.is_thinking = self._strips = True
                self._may_end_alone = False
            elif _may_open(begun):
                return  # nothing yet, or a part of a mark
            self._has_begun = True
        if self.is_thinking:
            thought, closer, rest = self._held.partition(self._closer)
            if not closer:
                n_held = _begun(thought, self._closer)
                self._held = thought[len(thought) - n_held :]
                self._think(thought[: len(thought) - n_held])
                return
            self._think(thought)
            self.thought, self._held, self.is_thinking = self.thought.rstrip(), rest, False
        self.finish()

    def _think(self, text: str) -> None:
        self.thought += text if self.thought else text.lstrip()

    def _answer(self, text: str) -> None:
        self.text += text.lstrip() if self._strips and not self.text else text
        if self._may_end_alone and (end := _END_ALONE.search(self.text)):
            self._may_end_alone = False
            if THOUGHT_MARKERS[0][0] not in self.text[: end.start()]:  # else it is quoted
                self._strips = True
                self.thought, self.text = self.text[: end.start()].strip(), self.text[end.end() :].lstrip()


def _may_open(text: str) -> bool:
    """Return True for a text that is nothing yet, or the beginning of a mark that opens a thought."""
    return any(opener.startswith(text.lstrip()) for opener, _ in THOUGHT_MARKERS)


def _begun(text: str, mark: str) -> int:
    """Return the length of the longest end of a text that begins a mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:size])), 0)
