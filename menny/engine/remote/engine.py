"""The same Engine over an OpenAI-compatible server: vLLM for what outgrows a machine, llama-server, mlx-lm's, others.

A prompt is token ids here too. Such a server takes messages instead and has a vocabulary of its own, so the ids of this
engine spell text, with two control ids around every message, as in chatml. Nothing that was written can forge a turn,
and the messages that the server gets are those that the prompt was made of, made to alternate.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import httpx2

from menny.engine.remote.byte_tokenizer import ByteTokenizer, messages_of
from menny.engine.remote.connection import Call, Connection, is_page, pieces_of
from menny.engine.remote.continuing import Overlap, continued, learn_continuing
from menny.engine.remote.counting import CountingTokenizer
from menny.engine.remote.dialect import MOST_ATTEMPTS, Dialect, sampling_fields
from menny.engine.remote.errors import (
    CLOSED,
    CUT_OFF,
    NO_CONTINUING,
    NO_SCORING,
    TOO_MUCH,
    NotTheProtocolError,
    RefusedError,
    describe_error,
)
from menny.engine.remote.events import TooLongError, read_events
from menny.engine.remote.messages import alternating
from menny.engine.remote.reply import ReplyReader
from menny.engine.remote.scoring import RemoteScorer
from menny.engine.remote.server import LIST_SECONDS, Server, choose_model, list_models, served_models
from menny.engine.requests import GenerateWork, PendingRequest, Request, ScoreWork, Stream, checked_prompt
from menny.engine.sampling import SamplingParams
from menny.engine.stop_strings import StopFinder
from menny.engine_protocols import Chunk, FinishReason, OnProgress, Progress, Score
from menny.errors import EngineError, MennyError

__all__ = ["RemoteEngine", "Server", "connect", "served_models"]

SILENCE_SECONDS = 300.0  # a long prompt is read in silence
AFTER_END_SECONDS = 5.0  # for the counts that follow a reply's end, or for more text after all
UNKNOWN_CONTEXT = 4096  # tokens, where a server states none
FRAME = 32  # tokens that a server's own template may add to a prompt that was counted exactly


class RemoteEngine:
    """A model on a server. Every reply is requested at once; the server decides which one waits."""

    def __init__(self, server: Server, silence: float = SILENCE_SECONDS) -> None:
        self._connection = Connection(server.address, server.key, silence)
        models = list_models(self._connection, server, min(silence, LIST_SECONDS))
        self.name = choose_model(models, server)
        self.server = server
        self.stage_bytes: tuple[int, ...] = ()  # no weights are here
        self.context_length = server.context_length or models[self.name].context or UNKNOWN_CONTEXT
        self._dialect = Dialect.of(models[self.name].owner)
        self.can_score = self._dialect.scores
        self.tokenizer = (
            CountingTokenizer(self._connection, self.name) if self._dialect.counts_tokens else ByteTokenizer()
        )
        self._lock = threading.Lock()
        self._under_way: dict[Request, Call | RemoteScorer] = {}
        self._closed = False

    def stream(
        self, prompt_ids: Sequence[int], params: SamplingParams | None = None, on_progress: OnProgress | None = None
    ) -> Stream:
        """Return the reply to a prompt, as Engine.stream does; a prompt without control ids is continued as it is."""
        params = params or SamplingParams()
        prompt, room = self._checked(prompt_ids, reserved=1)
        if isinstance(self.tokenizer, CountingTokenizer) and self.tokenizer.is_exact:
            room = max(1, room - FRAME)
        params = replace(params, max_tokens=min(params.max_tokens, room))
        request, call = Request(prompt, GenerateWork(params), Progress("prefill", 0, len(prompt))), Call()
        self._begin(request, call)
        chunks = self._chunks(request, params, call)
        threading.Thread(target=self._serve, args=(request, chunks), name="remote reply", daemon=True).start()
        return Stream(self, request, on_progress)

    def score(
        self,
        prompt_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        shared: int = 0,
        on_progress: OnProgress | None = None,
    ) -> list[Score]:
        """Return how likely the model finds each answer to a prompt, as Engine.score does, where the server tells it.

        Raises EngineError on a server other than vLLM.
        """
        if not self.can_score:
            raise EngineError(NO_SCORING.format(address=self.server.address))
        answers = [self.tokenizer.decode(tokens) for tokens in continuations]
        prompt, _ = self._checked(prompt_ids, reserved=max(map(len, continuations), default=1))
        if not all(answer.strip() for answer in answers) or not answers:
            raise EngineError("There is nothing to score: every continuation needs a token at least.")
        work = ScoreWork([list(tokens) for tokens in continuations], shared)
        request = Request(prompt, work, Progress("prefill", 0, len(prompt)))
        messages = alternating(messages_of(prompt) or [])
        scorer = RemoteScorer(self._connection, self._dialect, self.name, messages)
        self._begin(request, scorer)
        scores = (scorer.score(answers) for _ in range(1))
        threading.Thread(target=self._serve, args=(request, scores), name="remote scores", daemon=True).start()
        event = PendingRequest(self, request, on_progress).wait()
        if isinstance(event, Chunk):
            raise EngineError(CLOSED.format(address=self.server.address))
        return event

    def why_no_continuing(self) -> str:
        """Return why this server can't continue a reply, in a sentence; "" where it can.

        A server that isn't known is asked, once.
        """
        with suppress(MennyError):
            self._learn_continuing()
        is_impossible = self._dialect.continuing == "impossible" and not self.server.render
        return NO_CONTINUING.format(address=self.server.address) if is_impossible else ""

    def requests_ahead(self, _: Request) -> int:
        """Return 0: no queue is known here."""
        return 0

    def withdraw(self, request: Request) -> None:
        """End a cancelled request at once; the server sees that nobody listens."""
        with self._lock:
            is_waiting = request in self._under_way
            work = self._under_way.pop(request, None)
        if is_waiting:
            request.end_cancelled()
        for call in work.calls if isinstance(work, RemoteScorer) else [work] if work else []:
            call.hang_up()

    def close(self) -> None:
        """Cancel every reply, and hang up."""
        with self._lock:
            self._closed, requests = True, list(self._under_way)
        for request in requests:
            request.cancelled.set()
            self.withdraw(request)
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, prompt_ids: Sequence[int], reserved: int) -> tuple[list[int], int]:
        """Return a prompt that the server can read, and how many tokens its context leaves: `reserved` or more."""
        return checked_prompt(prompt_ids, reserved, self.context_length, "server", "about ")

    def _begin(self, request: Request, work: Call | RemoteScorer) -> None:
        with self._lock:
            if self._closed:
                raise EngineError(CLOSED.format(address=self.server.address))
            self._under_way[request] = work

    def _serve(self, request: Request, events: Iterator[Chunk] | Iterator[list[Score]]) -> None:
        """Put what a request is answered with into its queue."""
        try:
            for event in events:
                if request.cancelled.is_set():
                    return
                request.events.put(event)
        except Exception as error:
            described = describe_error(error, self.server.address, self.server.key)
            request.events.put(described.with_traceback(None))
        finally:
            with self._lock:
                self._under_way.pop(request, None)

    def _chunks(self, request: Request, params: SamplingParams, call: Call) -> Iterator[Chunk]:
        clock = _Clock(len(request.prompt))
        reader = ReplyReader(self.server.address, self.server.key, params.max_tokens)
        messages = messages_of(request.prompt)
        begun = messages[-1]["content"] if messages and messages[-1]["role"] == "assistant" else ""
        overlap = Overlap(begun, is_repeated=self._dialect.continuing == "prefix")
        stops = StopFinder(params.stop)  # not every server knows stop strings
        patience = threading.Timer(AFTER_END_SECONDS, call.hang_up)
        try:
            for event in self._events(request, params, call):
                text = stops.add(overlap.take(reader.take(event)))
                clock.take_usage(reader.usage)
                if text or reader.thought:
                    yield clock.chunk(text, reader.thought)
                if reader.is_done or stops.found:
                    break
                if reader.reason and (text or not patience.is_alive()):
                    patience.cancel()
                    patience = threading.Timer(AFTER_END_SECONDS, call.hang_up)
                    patience.daemon = True
                    patience.start()
        except TooLongError:
            raise EngineError(TOO_MUCH.format(address=self.server.address)) from None
        except httpx2.TransportError:
            if not reader.is_complete:
                raise
        finally:
            patience.cancel()
        if rest := stops.add(overlap.take(reader.rest()) + overlap.rest()) + stops.finish():
            yield clock.chunk(rest)
        if stops.found:
            yield clock.last("stop")
            return
        if not reader.is_complete:
            raise EngineError(CUT_OFF.format(address=self.server.address))
        yield clock.last(reader.end(may_be_empty=bool(begun) or messages is None))

    def _events(self, request: Request, params: SamplingParams, call: Call) -> Iterator[Any]:
        """Yield what the server sends; a request that it refuses is put in another way, where there is one."""
        path, fields = self._request(request.prompt)
        fields |= {"model": self.name, "stream": True, "stream_options": {"include_usage": True}}
        fields |= sampling_fields(params)
        if path.startswith("/chat"):
            fields = self._dialect.thinking_fields(params.thinking) | fields
        dialect = self._dialect
        for attempt in range(MOST_ATTEMPTS):
            try:
                with self._connection.open("POST", path, dialect.body(fields), call) as response:
                    self._dialect = dialect
                    if is_page(response):
                        raise NotTheProtocolError("it is a web page")
                    yield from read_events(pieces_of(response))
                    return
            except RefusedError as error:
                adapted = dialect.adapted(error, fields) if attempt < MOST_ATTEMPTS - 1 else None
                if adapted is None:
                    raise
                dialect = adapted

    def _request(self, prompt: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """Return a prompt's path and fields: a chat's messages, a text to go on with, or a reply to continue."""
        messages = messages_of(prompt)
        if messages is None:
            return "/completions", {"prompt": self.tokenizer.decode(prompt)}
        messages = alternating(messages)
        if messages[-1]["role"] != "assistant":
            return "/chat/completions", {"messages": messages}
        self._learn_continuing()
        return continued(self._connection, self._dialect, self.name, messages, self.server)

    def _learn_continuing(self) -> None:
        """Learn how the server continues a reply, unless that is known."""
        if self._dialect.continuing == "unknown":
            self._dialect = learn_continuing(self._connection, self._dialect, self.name)


class _Clock:
    """Counts and times a reply; the server's own counts, which come at the end, take the place of ours."""

    def __init__(self, prompt_tokens: int) -> None:
        self._began = self._first = time.perf_counter()
        self._prompt, self._cached, self._count = prompt_tokens, 0, 0
        self._counted: int | None = None

    def take_usage(self, usage: dict[str, Any]) -> None:
        """Take the server's own counts."""
        self._prompt = _count(usage, "prompt_tokens") or self._prompt
        self._counted = _count(usage, "completion_tokens") or self._counted
        self._cached = _count(usage.get("prompt_tokens_details"), "cached_tokens") or 0

    def chunk(self, text: str, thought: str = "") -> Chunk:
        """Return a piece of text or thought, which is about a token."""
        self._count += 1
        if self._count == 1:
            self._first = time.perf_counter()
        return self._measured(text, None, thought)

    def last(self, reason: FinishReason) -> Chunk:
        """Return the end, with the counts that the server sent."""
        self._count = self._counted or self._count
        return self._measured("", reason)

    def _measured(self, text: str, reason: FinishReason | None, thought: str = "") -> Chunk:
        waited, writing = max(1e-6, self._first - self._began), time.perf_counter() - self._first
        return Chunk(
            text,
            finish_reason=reason,
            prompt_tokens=self._prompt,
            cached_tokens=self._cached,
            completion_tokens=self._count,
            prompt_tps=max(0, self._prompt - self._cached) / waited,
            decode_tps=(self._count - 1) / writing if self._count > 1 and writing > 0 else 0.0,
            seconds_to_first_token=waited,
            thought=thought,
        )


def connect(server: Server) -> RemoteEngine:
    """Return an engine over a server that answers. Raises EngineError, in a sentence, where it doesn't."""
    return RemoteEngine(server)


def _count(holder: Any, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if type(value) is int and 0 <= value < 1 << 32 else None
