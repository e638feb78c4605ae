"""The prompt of a reply: the messages that the model sees, encoded, and their share of its context.

A memory that summarizes has the summary written first, by the function `write`: no engine is known here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

from menny.chat.memory import Memory, SelectedMessages, Summary, summary_room
from menny.chat.summary_prompt import request
from menny.chat.thinking import Thinking
from menny.engine_protocols import Engine, Tokenizer
from menny.errors import MennyError, PromptError, PromptTooLongError
from menny.messages import Message
from menny.prompts import (
    Effort,
    encode_answer,
    encode_chat,
    encode_open_chat,
    find_template,
    guess_template,
    opened,
    reasoning_words,
)

REPLY_SHARE = 4  # at most a quarter of the context is kept free for a reply
FRAME = 32  # tokens of a summary's room for the question before it, and for another vocabulary's longer count

PARTS = {"lore", "memory", "note"}  # of a prompt, which the usage of older replies doesn't tell apart
NO_THINKING = Thinking("off")

Write = Callable[[list[int], int], str]  # (prompt ids, most tokens to write) → text


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of the context by a reply's prompt, in tokens; the first `unseen` messages weren't in it.

    `lore`, `memory` and `note` are what these take of the system text and of the turns, which are counted without it.
    `reply` is kept free for the reply; a summary covered the first `summed` messages.
    """

    context: int
    system: int
    summary: int
    turns: int
    reply: int
    unseen: int = 0
    summed: int = 0
    lore: int = 0
    memory: int = 0
    note: int = 0

    @classmethod
    def read(cls, kept: object) -> "Usage | None":
        """Read what `asdict` has stored; None for anything else, as it may come from any file."""
        names = {field.name for field in fields(cls)}
        if not isinstance(kept, Mapping) or not names - PARTS <= set(kept) <= names:
            return None
        return cls(**kept) if all(type(tokens) is int and tokens >= 0 for tokens in kept.values()) else None

    @property
    def free(self) -> int:
        return self.context - self.reply - self.prompt

    @property
    def prompt(self) -> int:
        """The tokens of the prompt."""
        return self.system + self.summary + self.turns + self.lore + self.memory + self.note

    def parted(self, in_system: Mapping[str, int], in_turns: Mapping[str, int]) -> "Usage":
        """The same use with lore, memory and note apart, by what they take of the system text and of the turns."""
        return replace(
            self,
            system=max(0, self.system - sum(in_system.values())),
            turns=max(0, self.turns - sum(in_turns.values())),
            lore=in_system.get("lore", 0) + in_turns.get("lore", 0),
            memory=in_system.get("memory", 0) + in_turns.get("memory", 0),
            note=in_turns.get("note", 0),
        )


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt for the engine, with the latest summary, and a notice where a new one failed.

    `answer_ids` are the last ids: those of the reply that the model goes on with. `question` are the ids before the
    reply.
    """

    ids: list[int]
    usage: Usage
    summary: Summary | None = None
    notice: str = ""
    answer_ids: Sequence[int] = ()
    question: Sequence[int] = ()


class Context:
    """A model's context and template, with room kept for a reply: a quarter of it at most.

    `answer_ids` are those of the reply that the model goes on with, where its text's encoding has others. Where the
    model thinks before it answers, the room is for both.
    """

    def __init__(
        self,
        engine: Engine,
        template: str | None,
        max_tokens: int,
        answer_ids: Sequence[int] = (),
        thinking: Thinking = NO_THINKING,
    ) -> None:
        self.length = engine.context_length
        self.reply = min(max_tokens + (thinking.budget if thinking.is_on else 0), self.length // REPLY_SHARE)
        self._tokenizer = _EncodeOnce(engine.tokenizer)
        self._template = find_template(template or guess_template(engine.tokenizer))
        self._answer_ids = answer_ids
        self._effort: Effort = thinking.effort if thinking.is_on else "none"
        self._words = reasoning_words(engine.tokenizer, thinking.words) if thinking.is_on else ""

    @property
    def budget(self) -> int:
        """The tokens that a prompt may have."""
        return self.length - self.reply

    def encode(self, messages: Sequence[Message]) -> list[int]:
        ids, answer_ids = self._encode(messages)
        return [*ids, *answer_ids]

    def _encode(self, messages: Sequence[Message]) -> tuple[list[int], Sequence[int]]:
        """The ids of a prompt, and after them those of the answer that it leaves open."""
        whole = opened(messages, self._template)
        return encode_open_chat(whole, self._template, self._tokenizer, self._answer_ids, self._effort, self._words)

    def prompt_of(self, messages: Sequence[Message]) -> Prompt:
        """The prompt of all these messages, however long it is."""
        ids = self.encode(messages)
        return Prompt(ids, Usage(self.length, 0, 0, len(ids), self.reply), question=ids)

    def go_on(self, prompt: Prompt, answer: Message, *, is_closed: bool) -> Prompt:
        """The prompt of a reply with what there is of it by now; `is_closed`: its thought has ended."""
        marked, answer_ids = encode_answer(answer, self._template, self._tokenizer, is_closed=is_closed)
        ids = [*prompt.question, *marked, *answer_ids]
        return replace(prompt, ids=ids, answer_ids=answer_ids)

    def count(self, messages: Sequence[Message]) -> int:
        return len(self.encode(messages))

    def count_text(self, text: str) -> int:
        """The tokens of a text by itself."""
        return len(self._tokenizer.encode(text))

    def compose(
        self,
        messages: Sequence[Message],
        memory: Memory,
        examples: Sequence[Message],
        summary: Summary | None,
        write: Write,
    ) -> Prompt:
        """Build the prompt of a conversation; turns that leave it and aren't in the `summary` are summarized first.

        Where a summary fails, the prompt's notice says so, and the reply is made from the turns that are seen. Raises
        PromptTooLongError as the memory does.
        """

        def choose() -> SelectedMessages:
            return memory.choose(messages, self.count, self.budget, examples, summary)

        selected, notice = choose(), ""
        if memory.sums_up and selected.summed < selected.unseen:
            turns = [message for message in messages if message.role != "system"]
            leaving = turns[selected.summed : selected.unseen]
            try:
                text = self._summarize(leaving, summary.text if summary and selected.summed else "", write)
            except MennyError as error:
                notice = f"The earlier turns couldn't be summarized, so this reply knows the recent ones only. {error}"
            else:
                summary = Summary(text, selected.unseen)
                selected = choose()
        ids, answer_ids = self._encode(selected.messages)
        question = ids if selected.messages[-1].role != "assistant" else self.encode(selected.messages[:-1])
        return Prompt([*ids, *answer_ids], self._usage(selected), summary, notice, answer_ids, question)

    def estimate_usage(
        self, messages: Sequence[Message], memory: Memory, examples: Sequence[Message], summary: Summary | None
    ) -> Usage:
        """Estimate the use of the context by the next question's prompt, the question itself not counted.

        Raises PromptTooLongError where there is no room for a question, or where the memory keeps more than fits.
        """
        next_messages = [*messages, Message("user", "")]
        return self._usage(memory.choose(next_messages, self.count, self.budget, examples, summary))

    def count_unseen(
        self,
        messages: Sequence[Message],
        memory: Memory,
        examples: Sequence[Message],
        summary: Summary | None,
        reserved: int,
    ) -> int:
        """Count the first messages that a prompt wouldn't have, with `reserved` tokens kept for what is put into it.

        0 where it doesn't fit at all, of which `compose` says why.
        """
        try:
            return memory.choose(messages, self.count, self.budget - reserved, examples, summary).unseen
        except PromptTooLongError:
            return 0

    def _summarize(self, leaving: Sequence[Message], before: str, write: Write) -> str:
        longest = summary_room(self.budget) - FRAME
        if longest <= 0:
            raise PromptError("The model's context is too small for a summary.")
        messages = request(leaving, before, self.count, self.length - longest)
        text = write(encode_chat(messages, self._template, self._tokenizer), longest).strip()
        if not text:
            raise PromptError("The model wrote no summary.")
        return text

    def _usage(self, selected: SelectedMessages) -> Usage:
        shares = selected.shares
        return Usage(
            self.length,
            shares.system,
            shares.summary,
            shares.turns,
            self.reply,
            unseen=selected.unseen,
            summed=min(selected.summed, selected.unseen),
        )


class _EncodeOnce:
    """A tokenizer that encodes each text once: a prompt is counted several times before it is chosen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.control_id = tokenizer.control_id
        self.decode = tokenizer.decode
        self.encode = cache(tokenizer.encode)
