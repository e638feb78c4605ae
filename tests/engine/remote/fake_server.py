"""An OpenAI-compatible server on this machine that does what a test tells it, well or badly."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_here import http_here

Write = Callable[[bytes], None]


def event(text: str | None = None, reason: str | None = None, **others: Any) -> bytes:
    """A chunk of a chat's stream."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": reason}
    return (
        b"data: "
        + json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice], **others}).encode()
        + b"\n\n"
    )


USAGE = {"prompt_tokens": 21, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}}
DONE = b"data: [DONE]\n\n"


def well(write: Write) -> None:
    """A proper reply."""
    for word in ("Hello", ", ", "you", "."):
        write(event(word))
    write(event(reason="stop"))
    write(b'data: {"id": "x", "choices": [], "usage": ' + json.dumps(USAGE).encode() + b"}\n\n")
    write(DONE)


@dataclass
class FakeServer:
    """What it lists, and how it answers."""

    answer: Callable[[Write], None] = well
    models: Any = field(default_factory=lambda: {"data": [{"id": "fake-7b", "object": "model", "max_model_len": 900}]})
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    silence: float = 0.0
    respond: Callable[[str, dict[str, Any]], tuple[int, Any] | None] = lambda path, body: None  # before all that
    raw_models: bytes | None = None  # in place of the list
    address: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(server: FakeServer) -> Iterator[FakeServer]:
    """Run it until the block ends."""
    with http_here(_Handler, fake=server) as address:
        server.address = f"{address}/v1"
        yield server


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._note()
        if self.fake.raw_models is not None:
            self._whole(self.fake.status, self.fake.raw_models)
        elif self.fake.models is None:
            self._whole(404, b"{}")
        else:
            self._whole(200, json.dumps(_listed(self.fake.models)).encode())

    def do_POST(self) -> None:
        self._note()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fake.asked.append(body)
        time.sleep(self.fake.silence)
        if (response := self.fake.respond(self.path, body)) is not None:
            self._whole(response[0], json.dumps(response[1]).encode())
            return
        if self.fake.status != 200:
            self._whole(self.fake.status, self.fake.body)
            return
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", **self.fake.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.fake.answer(self._write)
        except OSError:
            self.fake.hung_up.set()

    def _note(self) -> None:
        self.fake.paths.append(self.path)
        self.fake.keys.append(self.headers.get("Authorization", ""))

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def _whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **self.fake.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _listed(models: Any) -> Any:
    return {"object": "list", **models} if isinstance(models, dict) else models


def alternating(_: str, body: dict[str, Any]) -> tuple[int, Any] | None:
    """Refuse what the templates of Mistral's models on Hugging Face refuse, as llama-server passes it on."""
    messages = body.get("messages", [])
    spoken = messages[1:] if messages and messages[0]["role"] == "system" else messages
    for number, message in enumerate(spoken):
        if message["role"] != ("assistant" if number % 2 else "user") or not message["content"].strip():
            return 400, {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}}
    return None


def without_system(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
    """Refuse the system role too, as the first templates did, and as mlx-lm's server passes it on."""
    if any(message["role"] == "system" for message in body.get("messages", [])):
        return 404, {"error": "Conversation roles must alternate user/assistant/user/assistant/..."}
    return alternating(path, body)
