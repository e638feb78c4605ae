"""A conversation, and the one way from a user's text to a streamed reply."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

from menny.context import Context, Prompt, Usage, Write
from menny.errors import MennyError, PromptError, PromptTooLongError
from menny.memory import Memory, Summary
from menny.messages import Message, clean, is_blank
from menny.prompts import ChatTokenizer

FinishReason = Literal["stop", "length", "cancelled"]
OnProgress = Callable[[Any], None]

RECENT = Memory()


class Chunk(Protocol):
    """A piece of a reply, with what was measured so far (`menny.engine.Chunk`)."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> FinishReason | None: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def decode_tps(self) -> float: ...
    @property
    def seconds_to_first_token(self) -> float: ...


class Stream(Protocol):
    """A reply under way; cancelling it, from any thread, makes its next chunk the last one."""

    def __iter__(self) -> Iterator[Chunk]: ...
    def cancel(self) -> None: ...


class Params(Protocol):
    """How to sample (`menny.engine.SamplingParams`): a dataclass, of which the chat knows two fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def max_tokens(self) -> int: ...
    @property
    def temperature(self) -> float: ...


class Engine(Protocol):
    """What a chat needs of an engine."""

    @property
    def tokenizer(self) -> ChatTokenizer: ...
    @property
    def context_length(self) -> int: ...
    def stream(self, prompt_ids: list[int], params: Any, on_progress: OnProgress | None = None) -> Stream: ...


@dataclass(frozen=True, slots=True)
class Summing:
    """Progress of a summary that is written before the reply (as `menny.engine.Progress`)."""

    done: int
    total: int
    phase: Literal["summing"] = "summing"


@dataclass(frozen=True, slots=True)
class Brief:
    """What the model is told before the conversation: the system text, then examples of how to answer."""

    system_text: str = ""
    examples: tuple[Message, ...] = ()

    @classmethod
    def of(cls, guardrail_texts: Iterable[str], persona_text: str, examples: Iterable[Message] = ()) -> "Brief":
        """The guardrails come first, and a persona can't take their place."""
        texts = [text.strip() for text in (*guardrail_texts, persona_text) if text.strip()]
        return cls("\n\n".join(texts), tuple(examples))


@dataclass(slots=True, eq=False)
class Reply:
    """What the model said so far; it stands in the conversation before its first token comes, so no text is lost."""

    text: str = ""
    finish_reason: FinishReason | None = None
    error: str = ""
    latest: Chunk | None = None
    forgotten: int = 0
    usage: Usage | None = None
    notice: str = ""
    _stream: Stream | None = None
    _cancelled: bool = False

    @property
    def is_over(self) -> bool:
        return self.finish_reason is not None or bool(self.error)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """End the reply, from any thread and at any time; what was said stays."""
        self._cancelled = True
        if self._stream is not None:
            self._stream.cancel()

    def follow(self, start: Callable[[], Stream]) -> Iterator[Chunk]:
        """Take in a stream's chunks and pass them on; cancelled before its start, the reply is over."""
        for chunk in self.listen(start):
            self.text += chunk.text
            self.latest = chunk
            self.finish_reason = chunk.finish_reason
            yield chunk
        if self._cancelled and self.finish_reason is None:
            self.finish_reason = "cancelled"

    def listen(self, start: Callable[[], Stream]) -> Iterator[Chunk]:
        """Start a stream that ends with this reply when that is cancelled, or abandoned; then it doesn't start."""
        if self._cancelled:
            return
        self._stream = start()
        if self._cancelled:  # while it was starting
            self._stream.cancel()
        is_over = False
        try:
            for chunk in self._stream:
                is_over = chunk.finish_reason is not None
                yield chunk
        finally:
            if not is_over:
                self._stream.cancel()


@dataclass(slots=True, eq=False)
class Turn:
    """What the user said, and the reply to it, with the ids of who gave it: a persona, by way of a model."""

    text: str
    persona: str = ""
    model: str = ""
    reply: Reply = field(default_factory=Reply)


class Chat:
    """A conversation. It owns no engine: the one that answers, and how, comes with every message."""

    def __init__(self, turns: Iterable[Turn] = (), summary: Summary | None = None) -> None:
        self.turns = list(turns)
        self.summary = summary

    def reply(
        self,
        text: str,
        engine: Engine,
        params: Params,
        brief: Brief | None = None,
        template: str | None = None,
        on_progress: OnProgress | None = None,
        memory: Memory = RECENT,
    ) -> Iterator[Chunk]:
        """Send a text and stream the reply: `begin` and `answer` in one."""
        return self.answer(self.begin(text), engine, params, brief, template, on_progress, memory)

    def begin(self, text: str, persona: str = "", model: str = "") -> Turn:
        """Take a user's text into the conversation, with a reply that has yet to come. PromptError if it is blank."""
        cleaned = clean(text)
        if is_blank(cleaned):
            raise PromptError("There is nothing to send: type a message first.")
        turn = Turn(cleaned, persona, model)
        self.turns.append(turn)
        return turn

    def answer(
        self,
        turn: Turn,
        engine: Engine,
        params: Params,
        brief: Brief | None = None,
        template: str | None = None,
        on_progress: OnProgress | None = None,
        memory: Memory = RECENT,
    ) -> Iterator[Chunk]:
        """Stream the reply to a turn of this conversation; without a template, the vocabulary's own is guessed.

        A message that doesn't fit leaves the conversation again (PromptTooLongError). Any other error ends the
        reply and is written in it; what was said until then stays.
        """
        try:
            context = Context(engine, template, params.max_tokens)
            prompt = self._prompt(
                turn, context, memory, brief or Brief(), _writer(turn.reply, engine, params, on_progress)
            )
            yield from turn.reply.follow(lambda: engine.stream(prompt.ids, params, on_progress))
        except PromptTooLongError:
            self.turns.remove(turn)
            raise
        except MennyError as error:
            turn.reply.error = str(error)
            raise

    def messages(self, until: Turn) -> list[Message]:
        """What was said up to a turn's question; a reply stopped before its first word isn't there."""
        said: list[Message] = []
        for turn in self.turns[: self.turns.index(until)]:
            said.append(Message("user", turn.text))
            if turn.reply.text:
                said.append(Message("assistant", turn.reply.text))
        return [*said, Message("user", until.text)]

    def _prompt(self, turn: Turn, context: Context, memory: Memory, brief: Brief, write: Write) -> Prompt:
        """What the model gets for a turn; a new summary is kept for the turns to come."""
        told = [Message("system", brief.system_text)] if brief.system_text else []
        prompt = context.compose([*told, *self.messages(until=turn)], memory, brief.examples, self.summary, write)
        self.summary = prompt.summary
        turn.reply.usage, turn.reply.notice = prompt.usage, prompt.notice
        turn.reply.forgotten = prompt.usage.unseen
        return prompt


def _writer(reply: Reply, engine: Engine, params: Params, on_progress: OnProgress | None) -> Write:
    """Has a summary written before a reply; it ends with the reply when that is cancelled."""

    def write(ids: list[int], max_tokens: int) -> str:
        pieces: list[str] = []

        def report(progress: Any = None) -> None:
            is_waiting = progress is not None and progress.phase == "waiting"
            if on_progress:
                on_progress(progress if is_waiting else Summing(len(pieces), max_tokens))

        plain = replace(params, max_tokens=max_tokens, temperature=0.0)
        report()
        for chunk in reply.listen(lambda: engine.stream(ids, plain, report)):
            pieces.append(chunk.text)
            report()
        return "" if reply.is_cancelled else "".join(pieces)

    return write
