"""The same Engine over an OpenAI-compatible server: vLLM for what outgrows a machine, llama-server, mlx-lm's, others.

A prompt is token ids here too. Such a server takes messages instead and has a vocabulary of its own, so the ids of this
engine spell text: three bytes each, and two control ids around every message, as in chatml. Nothing that was written
can forge a turn, and the messages that the server gets are those that the prompt was made of.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx2
import openai

from menny.engine.remote.byte_tokenizer import ByteTokenizer, messages_of
from menny.engine.remote.errors import describe_error
from menny.engine.requests import GenerateWork, Request, Stream
from menny.engine.sampling import SamplingParams
from menny.engine_protocols import Chunk, FinishReason, OnProgress, Progress, Score
from menny.errors import EngineError, MennyError, PromptTooLongError

CONNECT_SECONDS = 10.0
LIST_SECONDS = 20.0
SILENCE_SECONDS = 300.0  # a long prompt is read in silence
UNKNOWN_CONTEXT = 4096  # tokens, where a server doesn't tell
MOST_LETTERS = 200  # a token of a reply; who sends more doesn't end it
NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class Server:
    """Where a model is served; `served` None is the first that it lists."""

    address: str  # with its /v1
    served: str | None = None
    key: str | None = None
    context_length: int | None = None

    def __repr__(self) -> str:
        """Without the key, which belongs into no log."""
        return f"Server({self.address!r}, {self.served!r})"


def served_models(server: Server, silence: float = LIST_SECONDS) -> dict[str, int | None]:
    """The names of the models that a server has, with the context that it tells of each.

    A server that keeps no list has the model that is named for it.
    """
    with _client(server, silence) as client:
        try:
            listed = list(client.models.list())
            return {str(model.id)[:200]: _told_context(model) for model in listed[:1000]}
        except Exception as error:
            if isinstance(error, openai.NotFoundError) and server.served:
                return {server.served: None}
            raise describe_error(error, server) from None


class RemoteEngine:
    """A model on a server. Replies are asked for at once; the server decides what waits."""

    def __init__(self, server: Server, silence: float = SILENCE_SECONDS) -> None:
        models = served_models(server, min(silence, LIST_SECONDS))
        self.name = server.served or next(iter(models), "")
        if self.name not in models:
            known = ", ".join(list(models)[:5]) or "none at all"
            raise EngineError(f"{server.address} has no model {self.name!r}; it has {known}: name one of these.")
        self.server = server
        self.tokenizer = ByteTokenizer()
        self.stage_bytes: tuple[int, ...] = ()  # no weights are here
        self.context_length = server.context_length or models[self.name] or UNKNOWN_CONTEXT
        self._client = _client(server, silence)
        self._lock = threading.Lock()
        self._under_way: dict[Request, httpx2.Response | None] = {}
        self._closed = False

    def stream(
        self, prompt_ids: Sequence[int], params: SamplingParams | None = None, on_progress: OnProgress | None = None
    ) -> Stream:
        """The reply to a prompt, as Engine.stream has it; a prompt without control ids is continued as it stands."""
        params, prompt = params or SamplingParams(), [int(token) for token in prompt_ids]
        room = self.context_length - len(prompt)
        if not prompt:
            raise EngineError("The prompt is empty: there is nothing to reply to.")
        if room < 1:
            raise PromptTooLongError(
                f"The prompt has about {len(prompt)} tokens, but the server's context holds {self.context_length}: "
                f"shorten it by {1 - room} or more.",
                tokens=len(prompt),
                limit=self.context_length - 1,
            )
        asked = replace(params, max_tokens=min(params.max_tokens, room))
        request = Request(prompt, GenerateWork(asked), Progress("prefill", 0, len(prompt)))
        with self._lock:
            if self._closed:
                raise EngineError(f"The connection to {self.server.address} was closed: choose the model again.")
            self._under_way[request] = None
        threading.Thread(target=self._serve, args=(request, asked), name="remote reply", daemon=True).start()
        return Stream(self, request, on_progress)

    can_score = False

    def score(
        self,
        prompt_ids: Sequence[int],  # noqa: ARG002
        continuations: Sequence[Sequence[int]],  # noqa: ARG002
        shared: int = 0,  # noqa: ARG002
        on_progress: OnProgress | None = None,  # noqa: ARG002
    ) -> list[Score]:
        """Raise EngineError: such a server tells no likelihoods of texts that it didn't write."""
        raise EngineError(
            f"{self.server.address} can't score texts, so they can't be sorted: take a model of your own."
        )

    def requests_ahead(self, _: Request) -> int:
        """None that are known here."""
        return 0

    def withdraw(self, request: Request) -> None:
        """End a cancelled reply at once; the server sees that nobody listens."""
        with self._lock:
            response = self._under_way.pop(request, None) if (waiting := request in self._under_way) else None
        if waiting:
            request.end_cancelled()
        if response is not None:
            _hang_up(response)

    def close(self) -> None:
        """Cancel every reply, and hang up."""
        with self._lock:
            self._closed, requests = True, list(self._under_way)
        for request in requests:
            request.cancelled.set()
            self.withdraw(request)
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, request: Request, params: SamplingParams) -> None:
        """Put the reply's chunks into the request's queue."""
        try:
            for chunk in self._chunks(request, params):
                if request.cancelled.is_set():
                    return
                request.events.put(chunk)
        except MennyError as error:
            request.events.put(error.with_traceback(None))
        except Exception as error:
            request.events.put(describe_error(error, self.server))
        finally:
            with self._lock:
                response = self._under_way.pop(request, None)
            if response is not None:
                response.close()

    def _chunks(self, request: Request, params: SamplingParams) -> Iterator[Chunk]:
        clock, reason, letters = _Clock(len(request.prompt)), None, 0
        for event in self._events(request, params):
            clock.take_usage(getattr(event, "usage", None))
            choice = event.choices[0] if getattr(event, "choices", None) else None
            if choice is None:
                continue
            delta = getattr(choice, "delta", None)
            text = (getattr(delta, "content", None) if delta is not None else getattr(choice, "text", None)) or ""
            if not isinstance(text, str):
                raise EngineError(f"{self.server.address} sends text that is none: it may not be a server for chats.")
            text = text.encode(errors="replace").decode()  # half a character can be neither stored nor shown
            letters += len(text)
            if letters > MOST_LETTERS * (params.max_tokens + 100):
                raise EngineError(f"{self.server.address} sends more than was asked for, so the reply ends here.")
            if text:
                yield clock.chunk(text)
            reason = getattr(choice, "finish_reason", None) or reason
        if reason is None:
            raise EngineError(f"{self.server.address} ended the reply in its middle: what came stays; ask again.")
        final: FinishReason = "length" if reason == "length" else "stop"
        yield clock.last(final)

    def _events(self, request: Request, params: SamplingParams) -> Iterator[Any]:
        """What the server sends, while its response can be hung up on from elsewhere."""
        messages: Any = messages_of(request.prompt)
        common: dict[str, Any] = {"model": self.name, "stream": True, "stream_options": {"include_usage": True}}
        common |= _asked(params)
        if messages is None:
            stream = self._client.completions.create(prompt=self.tokenizer.decode(request.prompt), **common)
        else:
            stream = self._client.chat.completions.create(messages=messages, **common)
        with self._lock:
            if request not in self._under_way:  # cancelled meanwhile
                stream.close()
                return
            self._under_way[request] = stream.response
        yield from stream


class _Clock:
    """Counts and times a reply; what the server tells itself at the end is believed."""

    def __init__(self, prompt_tokens: int) -> None:
        self._began = self._first = time.perf_counter()
        self._prompt, self._cached, self._count = prompt_tokens, 0, 0
        self._told: int | None = None

    def take_usage(self, usage: Any) -> None:
        """The server's own counts."""
        if usage is None:
            return
        self._prompt = _count(usage, "prompt_tokens") or self._prompt
        self._told = _count(usage, "completion_tokens") or self._told
        self._cached = _count(getattr(usage, "prompt_tokens_details", None), "cached_tokens") or 0

    def chunk(self, text: str) -> Chunk:
        """A piece of text, which is about a token."""
        self._count += 1
        if self._count == 1:
            self._first = time.perf_counter()
        return self._measured(text, None)

    def last(self, reason: FinishReason) -> Chunk:
        """The end, with the counts that the server told."""
        self._count = self._told or self._count
        return self._measured("", reason)

    def _measured(self, text: str, reason: FinishReason | None) -> Chunk:
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
        )


def connect(server: Server) -> RemoteEngine:
    """An engine over a server that answers. Raises EngineError, in a sentence, where it doesn't."""
    return RemoteEngine(server)


def _client(server: Server, silence: float) -> openai.OpenAI:
    """Follows no redirect, which could carry a chat and the key to another host; asks no proxy for this machine."""
    try:
        here = httpx2.URL(server.address).host in ("127.0.0.1", "localhost", "::1")
    except httpx2.InvalidURL as error:
        raise EngineError("The server's address is none: it looks like http://127.0.0.1:8000/v1.") from error
    if server.key and not (server.key.isascii() and server.key.isprintable()):
        raise EngineError(f"The key for {server.address} has letters that no key has: copy it once more.")
    http = httpx2.Client(
        follow_redirects=False, trust_env=not here, timeout=httpx2.Timeout(silence, connect=CONNECT_SECONDS)
    )
    return openai.OpenAI(base_url=server.address, api_key=server.key or "none", max_retries=0, http_client=http)


def _asked(params: SamplingParams) -> dict[str, Any]:
    """Sampling in the protocol's words; what is neutral isn't sent, as not every server knows all of it."""
    asked: dict[str, Any] = {"temperature": params.temperature, "max_tokens": params.max_tokens}
    if params.seed is not None:
        asked["seed"] = params.seed
    if params.stop:
        asked["stop"] = list(params.stop)
    changed = {name: getattr(params, name) for name, neutral in NEUTRAL.items() if getattr(params, name) != neutral}
    if "top_p" in changed:
        asked["top_p"] = changed.pop("top_p")
    if "repetition_penalty" in changed:
        changed["repeat_penalty"] = changed["repetition_penalty"]  # llama-server's word
    return asked | ({"extra_body": changed} if changed else {})


def _told_context(model: Any) -> int | None:
    """vLLM and llama-server tell it, each in its own way."""
    meta = getattr(model, "meta", None)
    told = (getattr(model, "max_model_len", None), meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((count for count in told if type(count) is int and count > 0), None)


def _count(holder: Any, name: str) -> int | None:
    value = getattr(holder, name, None)
    return value if type(value) is int and 0 <= value < 1 << 32 else None


def _hang_up(response: httpx2.Response) -> None:
    """End a response that another thread is reading: closing it would wait for that thread."""
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        try:
            connection.shutdown(2)
        except OSError:  # it is over already
            return
