"""A server's list of models, and what is shown of its words: bounded, in time, and never a part of the key."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.engine.remote.connection import is_this_machine
from menny.engine.remote.engine import RemoteEngine
from menny.engine.remote.errors import without_key
from menny.engine.remote.server import Server, served_models
from menny.errors import EngineError
from tests.engine.remote.fake_server import FakeServer, serving

KEY = "sk-proj-Abc123def456"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as fake:
        yield fake


@pytest.mark.parametrize(
    ("models", "names"),
    [
        ({"data": [{"id": "a", "max_context_length": 32768}]}, {"a": 32768}),
        ({"data": [{"id": "a", "context_length": 5}, {"id": "b", "context_window": 6}]}, {"a": 5, "b": 6}),
        ([{"id": "a"}], {"a": None}),
        ({"data": ["a", "b"]}, {"a": None, "b": None}),
        ({"data": [{"object": "model"}, {"id": ""}, {"id": 3}, None, {"id": "a", "max_model_len": True}]}, {"a": None}),
        ({"data": [{"id": "a", "max_model_len": -4}]}, {"a": None}),
        ({"data": [{"id": "a"}], "error": None}, {"a": None}),
    ],
)
def test_a_list_is_read_in_every_form_that_servers_give_it(server: FakeServer, models: object, names: dict) -> None:
    server.models = models
    assert served_models(Server(server.address)) == names


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><html><title>Welcome</title></html>",
        b"",
        b"OK",
        b"null",
        b"3",
        b"{}",
        b'{"data": null}',
        b'{"data": {"id": "a"}}',
        b'{"data": [{}]}',
        b'{"data": [{"object": "model"}, {"name": "a"}]}',
        b"[" * 100_000,
        b'\xff\xfe{"data": []}',
        b'{"data": [' + b" " * (9 << 20) + b"]}",
    ],
)
def test_what_is_no_list_of_models_is_a_sentence_that_asks_for_v1(server: FakeServer, content: bytes) -> None:
    server.raw_models = content
    with pytest.raises(EngineError, match=r"is /v1 missing\?"):
        served_models(Server(server.address))


@pytest.mark.parametrize(
    "body", [{"error": {"message": "No such path"}}, {"error": "No such path"}, {"detail": "No such path"}]
)
def test_an_error_with_the_status_of_success_is_told_with_its_reason(server: FakeServer, body: dict) -> None:
    server.raw_models = json.dumps(body).encode()
    with pytest.raises(EngineError, match=r"No such path.*is /v1 missing\?"):
        served_models(Server(server.address))


def trickling(head: bytes, drop: bytes) -> Iterator[str]:
    """A server that sends a byte or two at a time and never ends; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(head)
                    while not is_over.wait(0.02):
                        connection.sendall(drop)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        is_over.set()
        thread.join()


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 500 Oh\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"", b""),
    ],
)
def test_a_list_that_trickles_is_given_up_in_time(head: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menny.engine.remote.connection.ERROR_SECONDS", 0.5)
    for address in trickling(head, drop):
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"doesn't answer|failed"):
            served_models(Server(address), silence=1.0)
        assert time.monotonic() - began < 15  # a busy machine; without a bound it would never end


@given(st.text(min_size=1, max_size=30), st.text(max_size=30), st.integers(0, 20), st.integers(4, 20))
def test_no_part_of_a_key_that_could_be_told_is_left(before: str, after: str, start: int, length: int) -> None:
    part = KEY[start : start + length]
    shown = without_key(before + part + after, KEY)
    if len(part) >= 4:
        assert part not in shown
        assert part.casefold() not in shown.casefold()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad key {KEY}!", "bad key …!"),
        ("bad key sk-proj-********f456", "bad key …********…"),
        ("bad key SK-PROJ-ABC", "bad key …"),
        ("no key at all", "no key at all"),
        ("", ""),
    ],
)
def test_a_key_is_hidden_in_a_servers_words_whole_or_in_part(text: str, shown: str) -> None:
    assert without_key(text, KEY) == shown
    assert without_key(text, None) == text


@pytest.mark.parametrize("status", [200, 302, 400, 404, 418, 500])
def test_a_key_that_a_server_echoes_is_in_no_sentence(server: FakeServer, status: int) -> None:
    echoed = {"error": {"message": f"Incorrect API key provided: {KEY[:9]}****{KEY[-5:]}"}}
    server.raw_models, server.status = json.dumps(echoed).encode(), status
    server.headers = {"Location": f"https://{KEY[:10]}.example/v1"}
    with pytest.raises(EngineError) as refused:
        served_models(Server(server.address, key=KEY))
    assert KEY[:9] not in str(refused.value)
    assert KEY[-5:] not in str(refused.value)


def test_a_key_among_the_names_of_models_is_hidden_too(server: FakeServer) -> None:
    server.models = {"data": [{"id": f"model-of-{KEY}"}]}
    with pytest.raises(EngineError, match="it has model-of-…: name one of these"):
        RemoteEngine(Server(server.address, "other", key=KEY))


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:7891/", "The proxy that"),
        ("HTTP_PROXY", "http://user:pass:word:x", "The proxy that"),
        ("HTTP_PROXY", "http://[::1", "The proxy that"),
        ("HTTP_PROXY", "ftp://proxy", "The proxy that"),
        ("SSL_CERT_FILE", "/nowhere/certificates.pem", "The certificates that"),
    ],
)
def test_a_proxy_or_certificates_that_cant_be_used_are_a_sentence_and_concern_no_server_on_this_machine(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(EngineError, match=words) as raised:
        served_models(Server("http://192.0.2.1:9/v1"), 0.2)
    assert "word" not in str(raised.value)
    assert served_models(Server(server.address)) == {"fake-7b": 900}


class SocksProxy(socketserver.BaseRequestHandler):
    """A SOCKS 5 proxy that takes every name for the server at `port`, and notes the names."""

    port: int
    asked: list[str]

    def handle(self) -> None:
        client: socket.socket = self.request
        client.recv(2 + client.recv(2, socket.MSG_PEEK)[1])
        client.sendall(b"\5\0")  # no password
        head = client.recv(4)
        host = client.recv(client.recv(1)[0]) if head[3] == 3 else socket.inet_ntoa(client.recv(4)).encode()
        self.asked.append(f"{host.decode()}:{int.from_bytes(client.recv(2), 'big')}")
        client.sendall(b"\5\0\0\1" + bytes(6))
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            server.sendall(client.recv(65536))
            while data := server.recv(65536):
                client.sendall(data)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("host", ["192.0.2.1", "menny.invalid"])
def test_a_socks_proxy_of_the_environment_is_used(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, scheme: str, host: str
) -> None:
    asked: list[str] = []
    attributes = {"port": int(server.address.split(":")[2].removesuffix("/v1")), "asked": asked}
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (SocksProxy,), attributes)) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}).start()
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.server_address[1]}")
        assert served_models(Server(f"http://{host}:9/v1"), 10) == {"fake-7b": 900}
        assert served_models(Server(server.address), 10) == {"fake-7b": 900}
        proxy.shutdown()
    assert asked == [f"{host}:9"]  # by its name, and nothing of this machine


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LocalHost", "localhost.", "127.1", "127.0.0.2", "0.0.0.0", "[::ffff:127.0.0.1]"],
)
def test_a_proxy_hears_of_no_server_on_this_machine_however_its_address_is_written(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.05)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        port = server.address.split(":")[2].removesuffix("/v1")
        with suppress(EngineError):  # the server listens on one of these addresses only
            served_models(Server(f"http://{host}:{port}/v1"), 1.0)
        with pytest.raises(TimeoutError):
            proxy.accept()


@pytest.mark.parametrize(
    "host", ["chat.localhost", "::1", "::", "0x7f000001", "2130706433", "127.255.255.254", "::ffff:7f00:1"]
)
def test_every_name_of_this_machine_is_known(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["192.168.1.5", "example.org", "localhost.example.org", "alocalhost", "128.0.0.1", ""])
def test_another_machine_isnt_taken_for_this_one(host: str) -> None:
    assert not is_this_machine(host)
