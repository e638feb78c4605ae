"""A reply as it streams from an engine, and the summary that may be written before it."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from menny.chat.prompt_builder import Usage, Write
from menny.chat.receipts import Receipt
from menny.chat.seam import Seam
from menny.chat.thinking import ThoughtSplitter
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
    `new` leaves the conversation again, with the first messages `opened` that came with it, and `instead` returns to
    its place; `typed` is the user's text, to be edited.
    """

    id: str
    text: str = ""
    thought: str = ""
    typed: str = ""
    new: str = ""
    opened: tuple[str, ...] = ()
    instead: str = ""
    finish_reason: FinishReason | None = None
    error: str = ""
    refusal: str = ""
    stats: ReplyStats = field(default_factory=ReplyStats)
    usage: Usage | None = None
    receipt: Receipt | None = None
    cached_tokens: int = 0  # of the prompt: those that weren't computed again
    notice: str = ""
    moderation: ModerationResult | None = None
    kept_ids: object = None  # see seam.py
    is_thinking: bool = False
    wants_answer: bool = False  # now, without more of the thought
    _thinking_since: float | None = None
    _stream: Stream | None = None
    _cancelled: bool = False

    @property
    def is_over(self) -> bool:
        return self.finish_reason is not None or bool(self.error)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    @property
    def thought_seconds(self) -> float:
        """The time that the thought has taken so far."""
        since = self._thinking_since
        return self.stats.thought_seconds + (time.monotonic() - since if since is not None else 0.0)

    def answer_now(self) -> None:
        """End the thought, from any thread: the model goes on with the answer."""
        self.wants_answer = True

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
        """Apply the result of moderation; a blocked reply loses its text and thought, and can't be continued."""
        self.moderation = result
        if result and result.action == "block":
            self.text, self.thought, self.finish_reason, self.error = WITHHELD, "", "stop", ""

    def follow(self, start: Callable[[], Stream], seam: Seam, splitter: ThoughtSplitter) -> Generator[Chunk]:
        """Pass on a stream's chunks, joined to the text and the thought so far; a cancelled reply starts no stream."""
        before, counts = self.stats, _Counts()
        try:
            for chunk in self.listen(start):
                was_thinking, had_thought = splitter.is_thinking, splitter.has_thought
                splitter.add(chunk, seam.join(chunk))
                if splitter.is_mark(chunk):
                    seam.begin_anew()
                if chunk.finish_reason:
                    splitter.finish()
                counts.add(
                    chunk.completion_tokens,
                    is_thought=splitter.is_thinking or (was_thinking and splitter.text == self.text),
                    is_first=splitter.has_thought and not had_thought,
                )
                self.finish_reason = chunk.finish_reason
                self.cached_tokens = chunk.cached_tokens
                text, thought = self._take(splitter)
                self.stats = replace(
                    self.stats,
                    prompt_tokens=chunk.prompt_tokens,
                    completion_tokens=before.completion_tokens + counts.answer,
                    decode_tps=chunk.decode_tps,
                    seconds_to_first_token=chunk.seconds_to_first_token,
                    thought_tokens=before.thought_tokens + counts.thought,
                )
                yield _saying(chunk, text, thought)
        finally:
            splitter.finish()
            self._take(splitter)
            self._clock(False)
        self.finish()

    def _take(self, splitter: ThoughtSplitter) -> tuple[str, str]:
        """Take over what was split; return what that adds to the text and to the thought."""
        text, thought = _added(self.text, splitter.text), _added(self.thought, splitter.thought)
        self.text, self.thought, self.is_thinking = splitter.text, splitter.thought, splitter.is_thinking
        self._clock(splitter.is_thinking)
        return text, thought

    def _clock(self, is_running: bool) -> None:
        """Start or stop the thought's clock."""
        if is_running and self._thinking_since is None:
            self._thinking_since = time.monotonic()
        elif not is_running and self._thinking_since is not None:
            self.stats = replace(self.stats, thought_seconds=self.thought_seconds)
            self._thinking_since = None

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


@dataclass(slots=True)
class _Counts:
    """The tokens of one stream: of its thought, and of its answer."""

    total: int = 0
    thought: int = 0

    @property
    def answer(self) -> int:
        return max(0, self.total - self.thought)

    def add(self, total: int, *, is_thought: bool, is_first: bool) -> None:
        """Count a chunk. Where it shows a thought for the first time, all before it were the thought's too."""
        new, self.total = max(0, total - self.total), total
        self.thought = total if is_first else self.thought + (new if is_thought else 0)


def _added(before: str, now: str) -> str:
    """What a text has at its end that it didn't have; nothing where its beginning has changed."""
    return now[len(before) :] if now.startswith(before) else ""


def _saying(chunk: Chunk, text: str, thought: str) -> Chunk:
    """A chunk with another text and thought."""
    if text != chunk.text:
        chunk = replace(chunk, text=text)
    return replace(chunk, thought=thought) if thought != getattr(chunk, "thought", thought) else chunk


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
        pieces = 0
        splitter = ThoughtSplitter(engine.tokenizer)

        def report(progress: Progress | None = None) -> None:
            is_waiting = progress is not None and progress.phase == "waiting"
            if on_progress:
                on_progress(progress if progress and is_waiting else Progress("summarizing", pieces, max_tokens))

        plain = replace(params, max_tokens=max_tokens, temperature=0.0, background=True)
        report()
        for chunk in reply.listen(lambda: engine.stream(ids, plain, report)):
            splitter.add(chunk, chunk.text)
            pieces += 1
            report()
        splitter.finish()
        return "" if reply.is_cancelled else splitter.text

    return write
