"""The prompt of a reply: what of a conversation is put before the model, and how much of its context that takes.

Where a memory sums up what leaves, the model is asked for the summary first. No engine is known here: `write` asks it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

from menny.chat.memory import Memory, SelectedMessages, Summary, summary_room
from menny.chat.summary_prompt import request
from menny.engine_protocols import Engine, Tokenizer
from menny.errors import MennyError, PromptError
from menny.messages import Message
from menny.prompts import encode_open_chat, guess_template

REPLY_SHARE = 4  # a quarter of the context is the most that is kept free for a reply
FRAME = 32  # tokens of a summary's room for the question that it answers, and for another vocabulary's longer count

Write = Callable[[list[int], int], str]  # a prompt's ids, and the most tokens to write → the text


@dataclass(frozen=True, slots=True)
class Usage:
    """How a reply's prompt used the context, in tokens, and how many of the first messages weren't in it.

    `reply` is kept free for the reply; a summary stood for the first `summed` messages.
    """

    context: int
    system: int
    summary: int
    turns: int
    reply: int
    unseen: int = 0
    summed: int = 0

    @classmethod
    def read(cls, kept: object) -> "Usage | None":
        """What was kept by `asdict`; None for anything else, as it may come from a file of somebody else's."""
        names = {field.name for field in fields(cls)}
        if not isinstance(kept, Mapping) or set(kept) != names:
            return None
        return cls(**kept) if all(type(tokens) is int and tokens >= 0 for tokens in kept.values()) else None

    @property
    def free(self) -> int:
        return self.context - self.system - self.summary - self.turns - self.reply


@dataclass(frozen=True, slots=True)
class Prompt:
    """The ids for the engine; the summary that is now the latest; and what went wrong with it, in a sentence.

    `answer_ids` are the last ids: those of the reply that the model goes on with.
    """

    ids: list[int]
    usage: Usage
    summary: Summary | None = None
    notice: str = ""
    answer_ids: Sequence[int] = ()


class Context:
    """A model's context and template, with room kept for a reply: a quarter of it at most.

    `answer_ids` are those of the reply that the model goes on with, where its text's encoding has others.
    """

    def __init__(self, engine: Engine, template: str | None, max_tokens: int, answer_ids: Sequence[int] = ()) -> None:
        self.length = engine.context_length
        self.reply = min(max_tokens, self.length // REPLY_SHARE)
        self._tokenizer = _EncodeOnce(engine.tokenizer)
        self._template = template or guess_template(engine.tokenizer)
        self._answer_ids = answer_ids

    @property
    def budget(self) -> int:
        """The tokens that a prompt may have."""
        return self.length - self.reply

    def encode(self, messages: Sequence[Message]) -> list[int]:
        ids, answer_ids = self._encode(messages)
        return [*ids, *answer_ids]

    def _encode(self, messages: Sequence[Message]) -> tuple[list[int], Sequence[int]]:
        """The ids of a prompt, and after them those of the answer that it leaves open."""
        return encode_open_chat(messages, self._template, self._tokenizer, self._answer_ids)

    def count(self, messages: Sequence[Message]) -> int:
        return len(self.encode(messages))

    def compose(
        self,
        messages: Sequence[Message],
        memory: Memory,
        examples: Sequence[Message],
        summary: Summary | None,
        write: Write,
    ) -> Prompt:
        """The prompt of a conversation; what leaves it without being in the `summary` is summed up first.

        A summary that can't be had is told in the prompt's notice: the reply is then made from what is seen. Raises
        PromptTooLongError as the memory does.
        """

        def choose() -> SelectedMessages:
            return memory.choose(messages, self.count, self.budget, examples, summary)

        remembered, notice = choose(), ""
        if memory.sums_up and remembered.summed < remembered.unseen:
            said = [message for message in messages if message.role != "system"]
            leaving = said[remembered.summed : remembered.unseen]
            try:
                text = self._sum_up(leaving, summary.text if summary and remembered.summed else "", write)
            except MennyError as error:
                notice = f"What is no longer seen couldn't be summed up: this reply knows the recent turns. {error}"
            else:
                summary = Summary(text, remembered.unseen)
                remembered = choose()
        ids, answer_ids = self._encode(remembered.messages)
        return Prompt([*ids, *answer_ids], self._usage(remembered), summary, notice, answer_ids)

    def estimate_usage(
        self, messages: Sequence[Message], memory: Memory, examples: Sequence[Message], summary: Summary | None
    ) -> Usage:
        """How the prompt of a next question would use the context, the question itself not counted.

        Raises PromptTooLongError where there would be no room for any, or the memory wants more than fits.
        """
        asked = [*messages, Message("user", "")]
        return self._usage(memory.choose(asked, self.count, self.budget, examples, summary))

    def _sum_up(self, leaving: Sequence[Message], before: str, write: Write) -> str:
        longest = summary_room(self.budget) - FRAME
        if longest <= 0:
            raise PromptError("The model's context is too small for a summary.")
        asked = request(leaving, before, self.count, self.length - longest)
        text = write(self.encode(asked), longest).strip()
        if not text:
            raise PromptError("The model wrote no summary.")
        return text

    def _usage(self, remembered: SelectedMessages) -> Usage:
        shares = remembered.shares
        return Usage(
            self.length,
            shares.system,
            shares.summary,
            shares.turns,
            self.reply,
            unseen=remembered.unseen,
            summed=min(remembered.summed, remembered.unseen),
        )


class _EncodeOnce:
    """A tokenizer that encodes each text once: a prompt is counted several times before it is chosen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.control_id = tokenizer.control_id
        self.decode = tokenizer.decode
        self.encode = cache(tokenizer.encode)
