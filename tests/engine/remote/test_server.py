"""A server's list of models, and what is shown of its words: bounded, in time, and never a part of the key."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
