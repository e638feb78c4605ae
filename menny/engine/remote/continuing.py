"""Continuing a reply over a server: not every one can, and each has a way of its own to be asked for it."""

from dataclasses import replace
from typing import Any

import httpx2

from menny.engine.remote.byte_tokenizer import Spelled
from menny.engine.remote.connection import Connection
from menny.engine.remote.dialect import FLAGS, NO_THOUGHT, Continuing, Dialect
from menny.engine.remote.errors import NO_CONTINUING, NotTheProtocolError, RefusedError
from menny.engine.remote.server import Server
from menny.errors import EngineError

PROBE_SECONDS = 30.0
SHORTEST_ECHO = 16  # characters of a reply that are its repetition; fewer may be written twice
PROBE: tuple[Spelled, ...] = (
    {"role": "user", "content": "Count to three."},
    {"role": "assistant", "content": "One, two"},
)
UNANSWERED = (RefusedError, NotTheProtocolError, httpx2.HTTPError)


def continuing_of(connection: Connection, dialect: Dialect, model: str) -> Continuing:
    """Return how the server continues a reply; one that isn't known is tried, with two requests of one token each."""
    if dialect.continuing != "unknown":
        return dialect.continuing
    plain = {"model": model, "messages": list(PROBE), "max_tokens": 1, "temperature": 0.0}
    counts = []
    for fields in (plain, plain | FLAGS):
        try:
            answer = connection.fetch("POST", "/chat/completions", dialect.body(fields), seconds=PROBE_SECONDS)
        except httpx2.ConnectError:
            return "unknown"
        except UNANSWERED:
            return "impossible"
        usage = answer.get("usage") if isinstance(answer, dict) else None
        counts.append(usage.get("prompt_tokens") if isinstance(usage, dict) else None)
    closed, left_open = counts
    is_shorter = type(closed) is int and type(left_open) is int and left_open < closed
    return "flags" if is_shorter else "impossible"


def continued(
    connection: Connection, dialect: Dialect, model: str, messages: list[Spelled], server: Server
) -> tuple[str, dict[str, Any]]:
    """Return the path and the fields of a request whose reply goes on with the last message.

    Raises EngineError where the server can't do that: it would begin a reply of its own.
    """
    *before, last = messages
    text = last["content"].rstrip()
    left_open: list[Any] = [*before, {**last, "content": text}]
    match dialect.continuing:
        case "flags":
            return "/chat/completions", {"messages": left_open, **FLAGS}
        case "prefix":
            left_open[-1]["prefix"] = True
            return "/chat/completions", {"messages": left_open}
        case "template":
            rendered = _rendered(connection, model, left_open)
            if rendered.rstrip().endswith(text):  # its template leaves the last message open by itself
                return "/chat/completions", {"messages": left_open, **FLAGS, **NO_THOUGHT}  # else it repeats it
            if rendered:
                return "/completions", {"prompt": _rendered(connection, model, before) + text}
    if server.render:  # a completion goes on with any text, but the template has to be known here
        return "/completions", {"prompt": server.render(left_open)}
    raise EngineError(NO_CONTINUING.format(address=server.address))


def _rendered(connection: Connection, model: str, messages: list[Any]) -> str:
    """Return the prompt that llama-server makes of messages; "" where it doesn't say.

    Where the model would think first, some of its versions refuse a reply that has begun.
    """
    body = {"model": model, "messages": messages, **NO_THOUGHT}
    try:
        answer = connection.fetch("POST", "/apply-template", body, seconds=PROBE_SECONDS, root=True)
    except UNANSWERED:
        return ""
    prompt = answer.get("prompt") if isinstance(answer, dict) else None
    return prompt if isinstance(prompt, str) else ""


def learn_continuing(connection: Connection, dialect: Dialect, model: str) -> Dialect:
    """Return the dialect with the way in which the server continues a reply."""
    return replace(dialect, continuing=continuing_of(connection, dialect, model))


class Overlap:
    """Joins a continuation to its text, which a server may write again: its white space at the end, which the server
    didn't get, or all of it, as Mistral's API always does (`is_repeated`).
    """

    def __init__(self, text: str, *, is_repeated: bool) -> None:
        begun = text.rstrip()
        self._left = text[len(begun) :]
        self._begun = begun if is_repeated or len(begun) >= SHORTEST_ECHO else ""
        self._held = ""  # what may be the beginning of all of it

    def take(self, text: str) -> str:
        """Return what a piece of the continuation adds."""
        if self._begun:
            self._held += text
            if len(self._held) < len(self._begun) and self._begun.startswith(self._held):
                return ""
            text, self._begun, self._held = self._held.removeprefix(self._begun), "", ""
        return self._added(text)

    def rest(self) -> str:
        """Return what was held back and is no repetition, as it ended too early."""
        text, self._begun, self._held = self._held, "", ""
        return self._added(text)

    def _added(self, text: str) -> str:
        while self._left and text and text[0] == self._left[0]:
            self._left, text = self._left[1:], text[1:]
        if text:
            self._left = ""
        return text
