"""A reply as it comes from an engine, and what is asked of the engine for that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

from menny.chat.prompt_builder import Usage
from menny.moderation.policy import WITHHELD, Finding
from menny.prompts import ChatTokenizer
from menny.storage import Figures

FinishReason = Literal["stop", "length", "cancelled"]
OnProgress = Callable[[Any], None]


class Chunk(Protocol):
    """A piece of a reply, with what was measured so far (`menny.engine.Chunk`): a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def text(self) -> str: ...
    @property
    def token(self) -> int | None: ...
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


class Tokenizer(ChatTokenizer, Protocol):
    """What a chat needs of an engine's tokenizer."""

    def decode(self, ids: list[int]) -> str: ...


class Engine(Protocol):
    """What a chat needs of an engine."""

    @property
    def tokenizer(self) -> Tokenizer: ...
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
class Judging:
    """Progress of a verdict, on a message or on its reply."""

    done: int = 0
    total: int = 0
    phase: Literal["judging"] = "judging"


@dataclass(slots=True, eq=False)
class Reply:
    """What the model said so far in answer to a question; its entry stands in the conversation before its first word.

    Where the reply is refused, because its prompt doesn't fit or its question is blocked, the entry `new` leaves the
    conversation again and `instead` is back in its place; `typed` is the text that goes back to who typed it.
    """

    id: str
    text: str = ""
    typed: str = ""
    new: str = ""
    instead: str = ""
    finish_reason: FinishReason | None = None
    error: str = ""
    figures: Figures = field(default_factory=Figures)
    usage: Usage | None = None
    notice: str = ""
    finding: Finding | None = None  # what moderation has to say of it
    _before: Figures = field(init=False)
    _stream: Stream | None = None
    _cancelled: bool = False

    def __post_init__(self) -> None:
        self._before = self.figures  # of what is gone on with

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

    def judged(self, finding: Finding | None) -> None:
        """Take in what moderation found; where it blocks, nothing of the text stays, and nothing to go on with."""
        self.finding = finding
        if finding and finding.action == "block":
            self.text, self.finish_reason, self.error = WITHHELD, "stop", ""

    def follow(self, start: Callable[[], Stream], seam: Callable[[int], str]) -> Iterator[Chunk]:
        """Take in a stream's chunks and pass them on; cancelled before its start, the reply is over.

        `seam` tells what the first token of a stream that goes on with a text adds to it.
        """
        is_seam = bool(self.text)
        for chunk in self.listen(start):
            if is_seam and chunk.token is not None:
                is_seam = False
                chunk = _with_space(chunk) if self._lacks_space(chunk, seam) else chunk
            self.text += chunk.text
            self.finish_reason = chunk.finish_reason
            self.figures = Figures(
                chunk.prompt_tokens,
                self._before.completion_tokens + chunk.completion_tokens,
                chunk.decode_tps,
                chunk.seconds_to_first_token,
            )
            yield chunk
        if self._cancelled and self.finish_reason is None:
            self.finish_reason = "cancelled"

    def _lacks_space(self, chunk: Chunk, seam: Callable[[int], str]) -> bool:
        """Whether a stream, which begins like a text of its own, has left out the space after what was said."""
        if self.text.endswith(" ") or chunk.text.startswith(" ") or chunk.token is None:
            return False
        return seam(chunk.token).startswith(" ")

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


def _with_space(chunk: Chunk) -> Chunk:
    return replace(chunk, text=" " + chunk.text)


def seam_after(last: int, tokenizer: Tokenizer) -> Callable[[int], str]:
    """Tells what a token adds to a text whose last token is `last`.

    Vocabularies of SentencePiece set a space before a text and take it off when they decode one: of a token in the
    midst of a text it is a part.
    """
    return lambda token: tokenizer.decode([last, token]).removeprefix(tokenizer.decode([last]))
