"""The streams of one reply: usually one. A thought that is cut short is followed by another that writes the answer.

A thought's tokens aren't counted against those of the answer, so a stream that a thought has used up is gone on with.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from menny.chat.prompt_builder import Context, Prompt
from menny.chat.reply import Reply
from menny.chat.seam import Seam, ids_to_keep
from menny.chat.settings import ReplySettings
from menny.chat.thinking import ThoughtSplitter
from menny.engine_protocols import Chunk, Engine, OnProgress
from menny.errors import PromptTooLongError
from menny.messages import Message

MOST_ROUNDS = 8


class Rounds:
    """Streams a reply to a prompt, in as many streams as it takes."""

    def __init__(
        self, reply: Reply, engine: Engine, settings: ReplySettings, context: Context, on_progress: OnProgress | None
    ) -> None:
        self._reply, self._engine, self._context, self._on_progress = reply, engine, context, on_progress
        self._params, self._thinking = settings.params, settings.thinking
        self._before = reply.stats.completion_tokens
        self._is_closed = False  # the thought, by us
        self._why_not: str | None = None  # a server can't go on from a thought; None: it wasn't asked yet
        self.seam: Seam | None = None

    def chunks(self, prompt: Prompt) -> Iterator[Chunk]:
        """Stream the reply; only its last chunk has a finish_reason."""
        reply = self._reply
        for number in range(1, MOST_ROUNDS + 1):
            try:
                yield from self._round(prompt, is_last=number == MOST_ROUNDS)
            except PromptTooLongError:
                if number == 1:
                    raise
                reply.finish_reason = "length"  # the thought has filled the context
            if reply.is_over or reply.is_cancelled:
                break
            answer = Message("assistant", reply.text, reply.thought)
            prompt = self._context.go_on(prompt, answer, is_closed=self._is_closed)
        reply.finish()

    def keep_ids(self) -> None:
        """Keep the ids of the reply's text beside it, where it needs them to go on."""
        if self.seam:
            self._reply.kept_ids = ids_to_keep(self.seam.ids, self._reply.text, self._engine.tokenizer)

    def _round(self, prompt: Prompt, *, is_last: bool) -> Iterator[Chunk]:
        reply, engine = self._reply, self._engine
        params = replace(self._params, **self._asked())
        has_room_to_think = params.max_tokens > self._params.max_tokens - self._answered
        self.seam = Seam(engine.tokenizer, prompt.answer_ids)
        splitter = ThoughtSplitter(engine.tokenizer, reply.thought, reply.text, self._is_closed)
        stream = reply.follow(lambda: engine.stream(prompt.ids, params, self._on_progress), self.seam, splitter)
        with closing(stream) as chunks:
            for chunk in chunks:
                if chunk.finish_reason == "length" and not is_last and self._goes_on(chunk):
                    reply.finish_reason = None
                    yield replace(chunk, finish_reason=None)
                    return
                is_spent = has_room_to_think and self._answered >= self._params.max_tokens
                if is_spent and chunk.finish_reason is None:
                    reply.finish_reason = "length"
                    yield replace(chunk, finish_reason="length")
                    return
                yield chunk
                if chunk.finish_reason is None and not is_last and self._cuts():
                    self._is_closed = True
                    return

    @property
    def _answered(self) -> int:
        """The tokens of the answer that this reply has got so far; those of an earlier one aren't counted."""
        return self._reply.stats.completion_tokens - self._before

    def _asked(self) -> dict[str, Any]:
        """What a stream is asked for: the tokens of the answer, with those of a thought where one is expected."""
        left = max(1, self._params.max_tokens - self._answered)
        reply = self._reply
        is_expected = self._thinking.is_on or bool(reply.thought) or reply.is_thinking
        if is_expected and not self._is_closed and not reply.text:
            left += max(0, self._thinking.budget - reply.stats.thought_tokens)
        asked: dict[str, Any] = {} if left == self._params.max_tokens else {"max_tokens": left}
        if self._thinking.choice != "auto" and hasattr(self._params, "thinking"):
            asked["thinking"] = self._thinking.is_on
        return asked

    def _goes_on(self, chunk: Chunk) -> bool:
        """Return True where a thought has used up the answer's tokens; one over its budget is closed."""
        reply = self._reply
        is_full = chunk.prompt_tokens + chunk.completion_tokens >= self._engine.context_length - 1
        has_thought = bool(reply.thought) or reply.is_thinking
        if is_full or not has_thought or self._answered >= self._params.max_tokens or self._explained():
            return False
        self._is_closed = not reply.text and (not reply.is_thinking or self._is_over_budget)
        return True

    @property
    def _is_over_budget(self) -> bool:
        return self._reply.stats.thought_tokens >= self._thinking.budget

    def _cuts(self) -> bool:
        """Return True where the thought is to end here, and the model can go on with the answer."""
        reply = self._reply
        wanted = reply.is_thinking and (reply.wants_answer or self._is_over_budget)
        return wanted and not self._explained()

    def _explained(self) -> bool:
        """Return True, with a notice, where the engine can't go on from a thought: a server that can't continue."""
        if self._why_not is None:
            ask = getattr(self._engine, "why_no_continuing", None)
            self._why_not = str(ask()) if ask else ""
        if self._why_not:
            self._reply.notice = "This server decides by itself how long it thinks: its thought can't be cut short."
        return bool(self._why_not)
