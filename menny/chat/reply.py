"""A reply as it streams from an engine, and the summary that may be written before it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from menny.chat.prompt_builder import Usage, Write
from menny.chat.seam import Seam
from menny.engine_protocols import Chunk, Engine, FinishReason, OnProgress, Progress, Stream
from menny.errors import EngineError
from menny.moderation.policy import WITHHELD, ModerationResult
from menny.storage import ReplyStats

if TYPE_CHECKING:
    from menny.engine import SamplingParams


@dataclass(slots=True, eq=False)
class Reply:
    """A reply as it grows; its node stands in the conversation before its first word.

    Where the reply is refused, because its prompt doesn't fit or its question is blocked, `refusal` says why, the node
    `new` leaves the conversation again and `instead` returns to its place; `typed` is the user's text, to be edited.
    """

    id: str
    text: str = ""
    thought: str = ""
    typed: str = ""
    new: str = ""
    instead: str = ""
    finish_reason: FinishReason | None = None
    error: str = ""
    refusal: str = ""
    stats: ReplyStats = field(default_factory=ReplyStats)
    usage: Usage | None = None
    notice: str = ""
    moderation: ModerationResult | None = None
    kept_ids: object = None  # see seam.py
    _before: ReplyStats = field(init=False)
    _stream: Stream | None = None
    _cancelled: bool = False

    def __post_init__(self) -> None:
        self._before = self.stats  # of a reply that is continued

    @property
    def is_over(self) -> bool:
        return self.finish_reason is not None or bool(self.error)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the reply, from any thread and at any time; its text so far stays."""
        self._cancelled = True
        if self._stream is not None:
            self._stream.cancel()

    def fail(self, error: str) -> None:
        """End the reply with an error, unless it is over already."""
        if not self.is_over:
            self.error = error

    def finish(self) -> None:
        """Mark a cancelled reply as over, even one that never started."""
        if self._cancelled and not self.is_over:
            self.finish_reason = "cancelled"

    def moderate(self, result: ModerationResult | None) -> None:
        """Apply the result of moderation; a blocked reply loses its text, and can't be continued."""
        self.moderation = result
        if result and result.action == "block":
            self.text, self.finish_reason, self.error = WITHHELD, "stop", ""

    def follow(self, start: Callable[[], Stream], seam: Seam) -> Iterator[Chunk]:
        """Pass on a stream's chunks, joined to the text so far; a cancelled reply starts no stream."""
        for chunk in self.listen(start):
            if (text := seam.join(chunk)) != chunk.text:
                chunk = replace(chunk, text=text)
            self.text += text
            self.finish_reason = chunk.finish_reason
            self.stats = ReplyStats(
                chunk.prompt_tokens,
                self._before.completion_tokens + chunk.completion_tokens,
                chunk.decode_tps,
                chunk.seconds_to_first_token,
            )
            yield chunk
        self.finish()

    def listen(self, start: Callable[[], Stream]) -> Iterator[Chunk]:
        """Stream until the reply is cancelled or abandoned, which cancels the stream too."""
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


def classifying(on_progress: OnProgress | None, stopped_by: Reply | None = None) -> OnProgress:
    """Report that a text is being classified; cancelling `stopped_by` ends that."""

    def report(_: Progress) -> None:
        if stopped_by is not None and stopped_by.is_cancelled:
            raise EngineError("The reply was stopped.")
        if on_progress:
            on_progress(Progress("classifying"))

    return report


def summary_writer(reply: Reply, engine: Engine, params: "SamplingParams", on_progress: OnProgress | None) -> Write:
    """Make a function that writes a summary before a reply, and ends when the reply is cancelled."""

    def write(ids: list[int], max_tokens: int) -> str:
        pieces: list[str] = []

        def report(progress: Progress | None = None) -> None:
            is_waiting = progress is not None and progress.phase == "waiting"
            if on_progress:
                on_progress(progress if progress and is_waiting else Progress("summarizing", len(pieces), max_tokens))

        plain = replace(params, max_tokens=max_tokens, temperature=0.0)
        report()
        for chunk in reply.listen(lambda: engine.stream(ids, plain, report)):
            pieces.append(chunk.text)
            report()
        return "" if reply.is_cancelled else "".join(pieces)

    return write
