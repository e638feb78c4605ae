"""A server on this machine that speaks the hub's protocol, as far as a download needs it, and misbehaves if told to."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.http_here import http_here

COMMIT = "c0ffee" + "0" * 34
LARGE = 4096  # bytes from which a file is kept by its SHA-256, as the hub does


def digest_of(content: bytes) -> str:
    """The SHA-256 of a large file, git's SHA-1 of a small one."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class FakeHub:
    """One repository, and how its server behaves."""

    repo: str
    files: dict[str, bytes]
    address: str = ""
    commit: str = COMMIT
    status: int = 200  # of every answer about the repository, or of those to questions with `refuses` in them
    refuses: str = ""  # part of a question such as "GET /owner/name/resolve/…"
    headers: dict[str, str] = field(default_factory=dict)  # of refusals, besides
    error: str = ""  # the header X-Error-Code, by which the hub says more
    silent: str | None = None  # part of the questions that are never answered
    portal: bool = False  # a page of the network stands before it, and answers everything
    token: str = ""  # what only those may have who send it
    pause: float = 0.0  # seconds between two pieces of a file
    piece: int = 1 << 16
    breaks_after: int | None = None  # bytes of a large file after which the connection is closed
    damaged: set[str] = field(default_factory=set)  # files that arrive otherwise than listed
    moved_to: str = ""  # an address that large files are redirected to, as to the hub's CDN
    circles: bool = False
    listed: dict[str, int] = field(default_factory=dict)  # names that are listed besides, with their sizes
    found: list[dict[str, Any]] = field(default_factory=list)  # what any search finds, as the hub tells of it
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and path
    tokens: list[str] = field(default_factory=list)  # that came with them
    sent: int = 0  # bytes of files
    over: threading.Event = field(default_factory=threading.Event)  # the server's end

    def got(self, name: str) -> int:
        """How often a file was asked for."""
        return sum(method == "GET" and path.endswith(f"/{name}") for method, path in self.requests)


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Run the server until the block ends."""
    with http_here(_Handler, hub=hub) as hub.address:
        try:
            yield hub
        finally:
            hub.over.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.requests.append((self.command, path))
        hub.tokens.append(self.headers.get("Authorization", ""))
        question = f"{self.command} {path}"
        if hub.silent is not None and hub.silent in question:
            hub.over.wait()
        elif hub.portal:
            self._send_whole(b"<html>Please sign in</html>", 200, {"Content-Type": "text/html"})
        elif hub.circles:
            self._head(302, {"Location": f"{path}?again", "Content-Length": "0"})
        elif hub.status != 200 and hub.refuses in question:
            self._refuse(hub.status)
        elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._refuse(401)
        elif path == "/api/models":
            self._json(hub.found)
        elif path.startswith("/api/models/"):
            self._describe(path)
        else:
            self._file(path, with_body)

    def _refuse(self, status: int) -> None:
        told = {"X-Error-Code": self.hub.error, "X-Error-Message": "no", **self.hub.headers}
        self._json({"error": "no"}, status, told)

    def _describe(self, path: str) -> None:
        hub = self.hub
        if not path.startswith(f"/api/models/{hub.repo}"):
            self._json({"error": "no"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in path:
            entries = [self._entry(name, content) for name, content in hub.files.items()]
            entries += [{"type": "file", "path": n, "size": s, "oid": "0" * 40} for n, s in hub.listed.items()]
            self._json(entries)
        elif "/revision/" in path and path.rsplit("/", 1)[1] not in ("main", hub.commit):
            self._json({"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            siblings = [{"rfilename": name} for name in (*hub.files, *hub.listed)]
            self._json({"id": hub.repo, "modelId": hub.repo, "sha": hub.commit, "siblings": siblings})

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": digest_of(content)}
        if len(content) >= LARGE:
            entry |= {"oid": "1" * 40}
            entry["lfs"] = {"oid": digest_of(content), "size": len(content), "pointerSize": 130}
        return entry

    def _file(self, path: str, with_body: bool) -> None:
        hub = self.hub
        start = f"/{hub.repo}/resolve/{hub.commit}/"
        name = path.removeprefix(start) if path.startswith(start) else path.removeprefix("/cdn/")
        content = hub.files.get(name)
        if content is None:
            self._head(404, {"X-Error-Code": "EntryNotFound", "Content-Length": "0"})
            return
        headers = {"ETag": f'"{digest_of(content)}"', "X-Repo-Commit": hub.commit}
        if hub.moved_to and len(content) >= LARGE and path.startswith(start):
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": headers["ETag"]}
            self._head(302, {**headers, "Location": f"{hub.moved_to}/cdn/{name}", "Content-Length": "0"})
            return
        self._head(200, {**headers, "Content-Length": str(len(content))})
        if with_body:
            if name in hub.damaged:
                content = bytes([content[0] ^ 1]) + content[1:]
            self._send(content)

    def _send(self, content: bytes) -> None:
        hub = self.hub
        try:
            for place in range(0, len(content), hub.piece):
                if hub.breaks_after is not None and place >= hub.breaks_after and len(content) >= LARGE:
                    self.close_connection = True
                    return
                piece = content[place : place + hub.piece]
                self.wfile.write(piece)
                hub.sent += len(piece)
                time.sleep(hub.pause)
        except OSError:  # whoever asked has gone
            self.close_connection = True

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send_whole(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send_whole(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
