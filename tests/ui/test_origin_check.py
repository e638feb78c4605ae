"""Who may talk to Menny: by Host and Origin, for requests and WebSockets alike."""

import asyncio
from typing import Any

import pytest

from menny.ui.origin_check import AllowedAddresses, OriginCheck, refusal
from menny.ui.security_headers import SECURITY_HEADERS, SecurityHeaders

NOBODY_ELSE = AllowedAddresses.of(["127.0.0.1"])
PORT = 8501


def scope(
    kind: str = "websocket",
    host: str | None = f"127.0.0.1:{PORT}",
    origin: str | None = None,
    scheme: str = "",
    method: str = "GET",
    server: tuple[str, int | None] = ("127.0.0.1", PORT),
    **others: str,
) -> dict[str, Any]:
    named = {"host": host, "origin": origin, **{key.replace("_", "-"): value for key, value in others.items()}}
    headers = [(key.encode(), value.encode("latin-1")) for key, value in named.items() if value is not None]
    scheme = scheme or {"http": "http", "websocket": "ws"}[kind]
    return {"type": kind, "scheme": scheme, "method": method, "path": "/", "headers": headers, "server": server}


def is_answered(allowed: AllowedAddresses = NOBODY_ELSE, **request: Any) -> bool:
    return refusal(scope(**request), allowed) == ""


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8501", "localhost:8501", "LOCALHOST:8501", "localhost.:8501", "[::1]:8501", "[0:0:0:0:0:0:0:1]:8501"],
)
def test_this_machine_is_answered_by_any_of_its_names(kind: str, host: str) -> None:
    assert is_answered(kind=kind, host=host)
    assert is_answered(kind=kind, host=host, origin=f"http://{host}")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host",
    [
        "attacker.example:8501",
        "attacker.example",
        "127.0.0.1.attacker.example:8501",
        "localhost.attacker.example:8501",
        "127.0.0.1:8502",
        "127.0.0.1",
        "localhost:0",
        "localhost:99999",
        "localhost:8501:8501",
        "user@localhost:8501",
        "localhost:8501/path",
        "localhost:8501 ",
        "0.0.0.0:8501",
        "[::]:8501",
        "192.168.1.5:8501",
        "2130706433:8501",
        "127.1:8501",
        "",
        None,
    ],
)
def test_another_name_for_this_machine_is_refused(kind: str, host: str | None) -> None:
    assert not is_answered(kind=kind, host=host)
    assert not is_answered(kind=kind, host=host, origin=f"http://{host}")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://attacker.example",
        "http://attacker.example:8501",
        "http://127.0.0.1:8888",
        "http://127.0.0.1",
        "https://127.0.0.1:8501",
        "http://localhost:8501",
        "http://localhost:3000",
        "http://0.0.0.0:8501",
        "http://[::1]:8501",
        "http://127.0.0.1:8501.attacker.example",
        "http://127.0.0.1:8501@attacker.example",
        "http://127.0.0.1:8501/path",
        "file://",
        "null",
        "chrome-extension://abcdefghijklmnop",
        "127.0.0.1:8501",
        "ws://127.0.0.1:8501",
        "http://127.0.0.1:8501, http://attacker.example",
        "http://",
        "",
    ],
)
def test_a_page_of_another_address_is_refused(kind: str, origin: str) -> None:
    assert not is_answered(kind=kind, origin=origin)


def test_two_hosts_or_two_origins_in_one_request_are_refused() -> None:
    for name, value in ((b"host", b"127.0.0.1:8501"), (b"origin", b"http://127.0.0.1:8501")):
        twice = scope(origin="http://127.0.0.1:8501")
        twice["headers"].append((name, value))
        assert refusal(twice, NOBODY_ELSE)


def test_a_program_needs_no_origin_and_a_browsers_websocket_does() -> None:
    assert is_answered(kind="websocket")
    assert is_answered(kind="http")
    assert not is_answered(kind="websocket", sec_fetch_site="same-origin")
    assert not is_answered(kind="websocket", sec_fetch_site="cross-site")


@pytest.mark.parametrize(
    ("site", "mode", "dest", "method", "is_fine"),
    [
        ("same-origin", "cors", "empty", "GET", True),
        ("same-origin", "no-cors", "image", "GET", True),
        ("none", "navigate", "document", "GET", True),  # typed, or a bookmark
        ("cross-site", "navigate", "document", "GET", True),  # a link was followed
        ("same-site", "navigate", "document", "GET", True),
        ("cross-site", "navigate", "iframe", "GET", False),
        ("cross-site", "navigate", "document", "POST", False),
        ("same-site", "no-cors", "image", "GET", False),  # another port of this machine
        ("cross-site", "no-cors", "script", "GET", False),
        ("cross-site", "cors", "empty", "GET", False),
    ],
)
def test_another_sites_page_may_link_to_menny_and_load_nothing(
    site: str, mode: str, dest: str, method: str, is_fine: bool
) -> None:
    request = {"kind": "http", "method": method, "sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest}
    assert is_answered(**request) == is_fine


@pytest.mark.parametrize(
    ("hosts", "host", "is_fine"),
    [
        (["chat.example.org"], "chat.example.org", True),
        (["chat.example.org"], "Chat.Example.org:8443", True),
        (["https://chat.example.org/"], "chat.example.org", True),  # as browser.serverAddress is sometimes written
        (["chat.example.org"], "other.example.org", False),
        (["chat.example.org"], "chat.example.org.attacker.example", False),
        (["*.example.org"], "chat.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "attackerexample.org", False),
        (["192.168.1.5"], "192.168.1.5:8501", True),
        (["FD00::5"], "[fd00:0::5]:8501", True),
        (["0.0.0.0"], "0.0.0.0:8501", False),
        (["*"], "anything.example", True),
        ([""], "attacker.example", False),
        (["localhost"], "localhost:3000", False),
    ],
)
def test_a_configured_name_is_answered_to_its_own_pages(hosts: list[str], host: str, is_fine: bool) -> None:
    allowed = AllowedAddresses.of(hosts)
    assert is_answered(allowed, host=host) == is_fine
    assert is_answered(allowed, host=host, origin=f"http://{host}") == is_fine
    assert not is_answered(allowed, host=host, origin="http://attacker.example.net")


def test_an_address_that_menny_listens_on_is_answered_where_it_arrives() -> None:
    everywhere = AllowedAddresses.of(["0.0.0.0"])
    at = ("192.168.1.5", PORT)
    assert is_answered(everywhere, host="192.168.1.5:8501", origin="http://192.168.1.5:8501", server=at)
    assert not is_answered(everywhere, host="192.168.1.6:8501", server=at)
    assert not is_answered(everywhere, host="192.168.1.5:8502", server=at)


def test_a_forwarded_port_is_answered_once_it_is_configured() -> None:
    request = {"host": "localhost:9000", "origin": "http://localhost:9000"}
    assert not is_answered(**request)
    assert is_answered(AllowedAddresses.of([], port=9000), **request)


def test_a_proxy_with_tls_is_answered_by_its_name_or_as_an_allowed_origin() -> None:
    request = {"host": "chat.example.org", "origin": "https://chat.example.org"}
    allowed = AllowedAddresses.of(["chat.example.org"])
    assert is_answered(allowed, **request, scheme="wss")
    assert is_answered(allowed, **request, scheme="https", kind="http")
    assert not is_answered(allowed, **request)
    hidden = AllowedAddresses.of([], ["https://chat.example.org/"])
    assert is_answered(hidden, origin="https://chat.example.org")
    assert not is_answered(hidden, origin="http://chat.example.org")
    assert is_answered(AllowedAddresses.of(["chat.example.org"], ["https://chat.example.org:443"]), **request)


# The middleware


async def answer(request: dict[str, Any], allowed: AllowedAddresses = NOBODY_ELSE) -> tuple[list[Any], list[Any]]:
    """What is sent back, and the scopes that come through."""
    sent: list[Any] = []
    passed: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await SecurityHeaders(OriginCheck(app, lambda: allowed))(request, receive, send)
    return sent, passed


def test_a_refused_websocket_is_closed_before_a_frame() -> None:
    sent, passed = asyncio.run(answer(scope(origin="http://127.0.0.1:8888")))
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert passed == []


def test_a_refused_request_gets_a_sentence_and_the_headers() -> None:
    sent, passed = asyncio.run(answer(scope("http", host="attacker.example")))
    assert sent[0]["status"] == 403
    assert b"attacker.example" in sent[1]["body"]
    headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    assert {key.lower() for key in SECURITY_HEADERS} <= headers.keys()
    assert passed == []


def test_an_allowed_origin_is_streamlits_own_so_that_it_asks_nobody() -> None:
    allowed = AllowedAddresses.of([], ["https://chat.example.org"])
    _, (passed,) = asyncio.run(answer(scope(origin="https://chat.example.org"), allowed))
    assert dict(passed["headers"])[b"origin"] == b"http://127.0.0.1:8501"


def test_what_is_no_request_passes() -> None:
    _, passed = asyncio.run(answer({"type": "lifespan"}))
    assert passed == [{"type": "lifespan"}]
