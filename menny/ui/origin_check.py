"""Who may talk to Menny: every request's Host and Origin are checked before Streamlit sees it.

A browser lets any web page open a WebSocket to this machine, and names that page in the Origin header. Streamlit alone
would answer pages on every port of this machine, and would ask a public service for this machine's address before it
refuses any other.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - addresses to listen on, which no browser can name
DEFAULT_PORTS = {"http": 80, "https": 443}
SECURE = {"https": "https", "wss": "https"}

_ADDRESS = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(\d{1,5}))?", re.IGNORECASE)
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """The scheme, host and port of a page or a request, as two of them can be compared."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of_host(cls, header: str, scheme: str) -> "Address | None":
        """The address in a Host header; None for one that isn't well-formed."""
        if not (match := _ADDRESS.fullmatch(header)):
            return None
        port = int(match[2]) if match[2] else DEFAULT_PORTS[scheme]
        return cls(scheme, normalized(match[1]), port) if 0 < port < 1 << 16 else None

    @classmethod
    def of_origin(cls, header: str) -> "Address | None":
        """The address in an Origin header; None for `null`, and for what is no page's."""
        match = _ORIGIN.fullmatch(header)
        return cls.of_host(match[2], match[1].lower()) if match else None


@dataclass(frozen=True, slots=True)
class AllowedAddresses:
    """What the owner of this machine lets Menny answer to, beside this machine's own loopback addresses."""

    hosts: frozenset[str] = frozenset()  # exact names, or `*.example.org`, or `*`
    origins: frozenset[Address] = frozenset()  # of pages that are served elsewhere, as by a proxy that hides its name
    port: int | None = None  # at which browsers reach a forwarded port, where that differs from the one served

    @classmethod
    def configured(cls) -> "AllowedAddresses":
        """Read Streamlit's options, from .streamlit/config.toml, the environment or the command line."""
        names = [*config.get_option("server.allowedHosts"), config.get_option("server.address")]
        if config.is_manually_set("browser.serverAddress"):
            names.append(config.get_option("browser.serverAddress"))
        return cls.of(
            (str(name) for name in names if name),
            (str(origin) for origin in config.get_option("server.corsAllowedOrigins")),
            int(config.get_option("browser.serverPort")) if config.is_manually_set("browser.serverPort") else None,
        )

    @classmethod
    def of(cls, hosts: Iterable[str], origins: Iterable[str] = (), port: int | None = None) -> "AllowedAddresses":
        """The same from names and origins as they are written; what isn't well-formed allows nothing."""
        names = {normalized(urlsplit(host).hostname or "" if "://" in host else host) for host in hosts}
        pages = (Address.of_origin(origin.strip()) for origin in origins)
        return cls(frozenset(names - WILDCARDS - {""}), frozenset(page for page in pages if page), port)

    def includes_host(self, host: Address, served: tuple[str, int | None]) -> bool:
        """Whether a request may name this host; `served` is the address and port at which it arrived."""
        if "*" in self.hosts:
            return True
        if host.host in LOOPBACK or host.host == normalized(served[0]):
            return host.port in (served[1], self.port)
        return any(_matches(host.host, pattern) for pattern in self.hosts)

    def includes_origin(self, origin: Address, host: Address) -> bool:
        """Whether a page at `origin` may talk to Menny at `host`: it must have come from there."""
        return origin == host or origin in self.origins


class OriginCheck:
    """ASGI middleware that refuses requests and WebSockets which another site's page, or a rebound name, could send.

    A refused request gets status 403 and a sentence, a refused WebSocket no frame: its handshake is answered with 403.
    `allowed` is asked at every request, so that options given after the import are heeded.
    """

    def __init__(self, app: ASGIApp, allowed: Callable[[], AllowedAddresses] = AllowedAddresses.configured) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif error := refusal(scope, self.allowed()):
            if scope["type"] == "http":
                await PlainTextResponse(error, status_code=403)(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "Forbidden"})
        else:
            await self.app(_as_same_origin(scope), receive, send)


def refusal(scope: Scope, allowed: AllowedAddresses) -> str:
    """Why a request can't be answered, in a sentence; empty where it can."""
    headers = Headers(scope=scope)
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    host = Address.of_host(hosts[0], _scheme(scope)) if len(hosts) == 1 else None
    if host is None:
        return "This request doesn't name the address it was sent to."
    if not allowed.includes_host(host, scope.get("server") or ("", None)):
        return (
            f"Menny isn't served at {host.host}:{host.port}. To allow it, add {host.host} to server.allowedHosts in "
            ".streamlit/config.toml, or its port as browser.serverPort (docs/security.md)."
        )
    if origins:
        origin = Address.of_origin(origins[0]) if len(origins) == 1 else None
        if origin is None or not allowed.includes_origin(origin, host):
            return (
                "A page of another address may not talk to Menny. To allow one, add its address to "
                "server.corsAllowedOrigins in .streamlit/config.toml (docs/security.md)."
            )
    elif not _is_unforced(scope, headers):
        return "A page of another address may not load anything from Menny."
    return ""


def _is_unforced(scope: Scope, headers: Headers) -> bool:
    """Whether a request without an Origin comes from Menny's own page, a person's click, or no browser at all.

    Browsers leave the Origin out of simple requests, but tell of another site's by Sec-Fetch-Site. They never leave it
    out of a WebSocket's.
    """
    site = headers.get("sec-fetch-site")
    if site is None:
        return True
    if scope["type"] == "websocket":
        return False
    is_visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return site in ("same-origin", "none") or (is_visit and scope["method"] == "GET")


def _as_same_origin(scope: Scope) -> Scope:
    """An allowed WebSocket as one of Menny's own page, for Streamlit to take it without a check of its own."""
    headers = Headers(scope=scope)
    if scope["type"] != "websocket" or "origin" not in headers:
        return scope
    own = f"{_scheme(scope)}://{headers['host']}".encode("latin-1")
    return {**scope, "headers": [(key, own if key == b"origin" else value) for key, value in scope["headers"]]}


def _scheme(scope: Scope) -> str:
    """`https` where this server, or a proxy on this machine (X-Forwarded-Proto), speaks TLS; else `http`."""
    return SECURE.get(scope.get("scheme", ""), "http")


def normalized(host: str) -> str:
    """A name or address as it is compared: small letters, no brackets, no final dot, IPv6 in its short form."""
    name = host.strip().lower().rstrip(".").removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _matches(host: str, pattern: str) -> bool:
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))
