"""HTTP with one server: every answer is bounded in bytes and time, and a request can be ended from another thread."""

import ipaddress
import json
import socket
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from menny.engine.remote.errors import (
    BAD_ADDRESS,
    BAD_CERTIFICATES,
    BAD_KEY,
    BAD_PROXY,
    NotTheProtocolError,
    RefusedError,
)
from menny.errors import EngineError

CONNECT_SECONDS = 10.0
MOST_BYTES = 8 << 20  # of an answer that is no stream
MOST_PIECE_BYTES = 1 << 16  # of a compressed answer, unpacked at once
GZIP_OR_ZLIB = 47  # zlib's number for either, by their first bytes
MOST_ERROR_BYTES = 1 << 20
ERROR_SECONDS = 10.0  # for the text of an error
OPENED = (".connect_tcp.complete", ".start_tls.complete")


class Call:
    """One request; `hang_up` ends it from any thread, even while it waits."""

    def __init__(self) -> None:
        self.is_over = False
        self._stream: Any = None

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Hear from httpx how the request goes: here, of the connection that it opens."""
        if name.endswith(OPENED):
            self._stream = info.get("return_value")
            if self.is_over:
                self.hang_up()

    def hang_up(self) -> None:
        """End the connection: merely closing the response would wait for the thread that reads it."""
        self.is_over = True
        connected = self._stream.get_extra_info("socket") if self._stream is not None else None
        if connected is not None:
            try:
                connected.shutdown(2)
            except OSError:  # it is closed already
                return

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Hang up when the block takes longer. Raises TimeoutException."""
        timer = threading.Timer(seconds, self.hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except httpx2.HTTPError:
            if self.is_over:
                raise httpx2.ReadTimeout("it took too long") from None
            raise
        finally:
            timer.cancel()
        if self.is_over:
            raise httpx2.ReadTimeout("it took too long")


class Connection:
    """A client of one server; `address` ends in its /v1, and `silence` is how many seconds it may say nothing.

    It follows no redirect, which could carry a chat and the key to another host, and asks no proxy for this machine.
    Raises EngineError for an address or a key that can't be one, and for a proxy or certificates that the environment
    names and that can't be used.
    """

    def __init__(self, address: str, key: str | None, silence: float) -> None:
        try:
            host = httpx2.URL(address).host
        except httpx2.InvalidURL:
            raise EngineError(BAD_ADDRESS) from None
        if key and not (key.isascii() and key.isprintable()):
            raise EngineError(BAD_KEY.format(address=address))
        self._address = address.rstrip("/")
        try:
            self._client = httpx2.Client(
                follow_redirects=False,
                trust_env=not is_this_machine(host),
                timeout=httpx2.Timeout(silence, connect=min(silence, CONNECT_SECONDS)),
                limits=httpx2.Limits(max_keepalive_connections=0),  # a call hangs up its own connection, no other's
                headers={
                    "Authorization": f"Bearer {key or 'none'}",
                    "User-Agent": "menny",
                    "Accept-Encoding": "gzip, deflate",
                },
            )
        except OSError:
            raise EngineError(BAD_CERTIFICATES) from None
        except (ValueError, httpx2.InvalidURL):
            raise EngineError(BAD_PROXY) from None

    @property
    def root(self) -> str:
        """The address without /v1, below which servers have what isn't of OpenAI's protocol."""
        return self._address.removesuffix("/v1")

    def fetch(
        self, method: str, path: str, body: Any = None, *, seconds: float, root: bool = False, call: Call | None = None
    ) -> Any:
        """Send a request and return the JSON that answers it.

        Raises RefusedError for an HTTP error, NotTheProtocolError for what isn't JSON, and httpx2's errors.
        """
        call = call or Call()
        with call.within(seconds), self.open(method, path, body, call, root=root) as response:
            content = _read(response, MOST_BYTES)
        return parse(content, response)

    @contextmanager
    def open(self, method: str, path: str, body: Any, call: Call, *, root: bool = False) -> Iterator[httpx2.Response]:
        """Send a request; the block reads what answers it. Raises RefusedError for any status but 200."""
        url = (self.root if root else self._address) + path
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._client.stream(
            method, url, content=content, headers=headers, extensions={"trace": call.trace}
        ) as response:
            if response.status_code != 200:
                raise _refusal(response, call)
            yield response

    def close(self) -> None:
        """Let go of every connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_this_machine(host: str) -> bool:
    """Return True for an address of this machine, in any spelling: localhost, 127.1, 0.0.0.0, ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(name))  # 127.1 and 0x7f000001 are addresses too
        except (OSError, ValueError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def parse(content: bytes, response: httpx2.Response) -> Any:
    """Return the JSON of an answer. Raises NotTheProtocolError."""
    if is_page(response):
        raise NotTheProtocolError("it is a web page")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NotTheProtocolError("it is no JSON") from None


def pieces_of(response: httpx2.Response) -> Iterator[bytes]:
    """Yield an answer's bytes, unpacked in pieces of a bounded length: httpx's own could be a thousand times as long as
    what came.

    Raises NotTheProtocolError for what can't be unpacked.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    packed = response.iter_raw()
    yield from unpacked(packed) if encoding in ("gzip", "x-gzip", "deflate") else packed


def unpacked(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what gzip or zlib packed, in pieces of at most MOST_PIECE_BYTES. Raises NotTheProtocolError."""
    unpacker = zlib.decompressobj(GZIP_OR_ZLIB)
    for piece in packed:
        rest = piece
        while rest and not unpacker.eof:
            try:
                plain = unpacker.decompress(rest, MOST_PIECE_BYTES)
            except zlib.error:
                raise NotTheProtocolError("it can't be unpacked") from None
            rest = unpacker.unconsumed_tail
            if plain:
                yield plain


def is_page(response: httpx2.Response) -> bool:
    """Return True for an answer that calls itself a web page."""
    return "html" in response.headers.get("Content-Type", "").lower()


def _refusal(response: httpx2.Response, call: Call) -> RefusedError:
    """Read an HTTP error; of a long or slow text, only that it was one."""
    try:
        with call.within(ERROR_SECONDS):
            content = _read(response, MOST_ERROR_BYTES)
        is_plain = response.headers.get("Content-Type", "").startswith("text/plain")
        body = content.decode("utf-8-sig") if is_plain else json.loads(content.decode("utf-8-sig"))
    except (httpx2.HTTPError, NotTheProtocolError, ValueError, RecursionError):
        body = None
    return RefusedError(response.status_code, dict(response.headers), body)


def _read(response: httpx2.Response, most: int) -> bytes:
    content = bytearray()
    for piece in pieces_of(response):
        content += piece
        if len(content) > most:
            raise NotTheProtocolError("it is too long")
    return bytes(content)
