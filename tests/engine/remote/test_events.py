"""Every way in which a server may write its events gives the same reply."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine import Chunk, SamplingParams
from menny.engine.remote.byte_tokenizer import ByteTokenizer
from menny.engine.remote.engine import RemoteEngine, Server
from menny.engine.remote.events import DONE, TooLongError, read_events
from menny.engine.remote.reply import ReplyReader
from menny.errors import EngineError
from menny.messages import Message
from menny.prompts import encode_chat
from tests.engine.remote.fake_server import DONE as DONE_EVENT
from tests.engine.remote.fake_server import FakeServer, Write, event, serving

NAMES = [
    "choices",
    "delta",
    "message",
    "content",
    "text",
    "type",
    "finish_reason",
    "usage",
    "error",
    "detail",
    "object",
    "refusal",
    "reasoning",
    "tool_calls",
]
STREAM = "".join(
    (
        'data: {"choices": [{"delta": {"role": "assistant", "content": "Grüße "}}]}\n\n',
        'data: {"choices": [{"delta": {"content": "👋🏽 "}}]}\n\n',
        'data: {"choices": [{"delta": {"content": "你好"}, "finish_reason": "stop"}]}\n\n',
        "data: [DONE]\n\n",
    )
)
TEXT = "Grüße 👋🏽 你好"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as fake:
        yield fake


@pytest.fixture
def engine(server: FakeServer) -> Iterator[RemoteEngine]:
    with RemoteEngine(Server(server.address, key="sk-abcdefgh-12345"), silence=2.0) as connected:
        yield connected


def reply(engine: RemoteEngine, max_tokens: int = 50) -> list[Chunk]:
    prompt = encode_chat([Message("user", "Hi")], "chatml", ByteTokenizer())
    return list(engine.stream(prompt, SamplingParams(max_tokens=max_tokens)))


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def data(*values: object) -> Callable[[Write], None]:
    """An answer of these events: JSON, or bytes as they are."""

    def answer(write: Write) -> None:
        for value in values:
            write(value if isinstance(value, bytes) else b"data: " + json.dumps(value).encode() + b"\n\n")

    return answer


def delta(reason: str | None = None, **fields: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


@given(st.lists(st.integers(1, 40), min_size=1), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_events_come_out_the_same_however_their_bytes_are_cut(cuts: list[int], end: str, has_bom: bool) -> None:
    content = ("\ufeff" * has_bom + STREAM.replace("\n", end)).encode()
    pieces, start = [], 0
    while start < len(content):
        width = cuts[len(pieces) % len(cuts)]
        pieces.append(content[start : start + width])
        start += width

    *events, last = read_events(pieces)
    assert last == DONE
    assert "".join(one["choices"][0]["delta"]["content"] for one in events) == TEXT


@pytest.mark.parametrize(
    "noise",
    [
        b"retry: 3000\n\n",
        b"id: 7\n\n",
        b"id\n\n",
        b"data:\n\n",
        b"data: \n\n",
        b"data\n\n",
        b"data: ping\n\n",
        b'data: "ping"\n\n',
        b"data: null\n\n",
        b"data: 17\n\n",
        b"data: {}\n\n",
        b": ping - 2026-11-30 10:00:00\n\n",
        b":\n\n",
        b"event: ping\ndata: {}\n\n",
        b"event: ping\n\n",
        b"\n\n\n",
        b'data: {"choices": []}\n\n',
        b'data: {"choices": null}\n\n',
        b'data: {"usage": null}\n\n',
        b'data: {"choices": [{"delta": {"content": null}}]}\n\n',
        b'data: {"choices": [{"delta": null}]}\n\n',
        b'data: {"choices": [{"index": 0}]}\n\n',
        b'data: {"choices": [null]}\n\n',
        b'data: {"choices": [{"delta": {"role": "assistant"}, "finish_reason": ""}]}\n\n',
        b'data: {"choices": [{"delta": {"reasoning_content": "Hm."}}]}\n\n',
        b'data: {"choices": [{"delta": {"reasoning": "Hm.", "content": ""}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"function": {"name": "f"}}]}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"text": "Hm."}]}]}}]}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": "x"}}\n\n',
        b'data: {"error": null, "choices": []}\n\n',
    ],
)
@pytest.mark.parametrize("place", ["first", "between", "last"])
def test_what_is_no_text_neither_ends_a_reply_nor_is_in_it(
    engine: RemoteEngine, server: FakeServer, noise: bytes, place: str
) -> None:
    parts: list[object] = [delta(content="One "), delta(content="two."), delta("stop"), DONE_EVENT]
    parts.insert({"first": 0, "between": 1, "last": 3}[place], noise)
    server.answer = data(*parts)
    chunks = reply(engine)
    assert text_of(chunks) == "One two."
    assert chunks[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([delta(content="a \ud83d"), delta(content="\ude00 b")], "a 😀 b"),
        ([delta(content="\ud83d"), delta(), delta(content="\ude00")], "😀"),
        ([delta(content="a\ud83d"), delta(content="b")], "a?b"),
        ([delta(content="\ude00 b")], "? b"),
        ([delta(content="a \ud83d")], "a ?"),
        ([delta(content=[{"type": "text", "text": "Hello"}, {"type": "text", "text": " you"}])], "Hello you"),
        ([delta(content=["Hello", {"text": " you"}, {"type": "image_url", "image_url": {}}])], "Hello you"),
        ([delta(content=[]), delta(content="x")], "x"),
        ([delta(refusal="I can't help with that.")], "I can't help with that."),
        ([b'data: {"choices":\ndata:  [{"delta": {"content": "lines"}}]}\n\n'], "lines"),
        (
            [
                b'data: {"choices": [{"delta": {"content": "a"}}]}\n',
                b'data: {"choices": [{"delta": {"content": "b"}}]}\n\n',
            ],
            "ab",
        ),
        ([b'data:{"choices":[{"delta":{"content":"tight"}}]}\n\n'], "tight"),
        ([b'event: message\nid: 1\ndata: {"choices": [{"delta": {"content": "named"}}]}\n\n'], "named"),
        ([delta("stop", content="early"), delta(content=" end")], "early end"),
        ([delta("stop", content="every "), delta("stop", content="time")], "every time"),
        ([{"choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]}], "whole"),
    ],
)
def test_a_text_comes_out_as_it_was_meant(engine: RemoteEngine, server: FakeServer, events: list, text: str) -> None:
    server.answer = data(*events, DONE_EVENT)
    chunks = reply(engine)
    assert text_of(chunks) == text
    assert chunks[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ([DONE_EVENT], "stop"),
        ([b"data:[DONE]\n\n"], "stop"),
        ([b"data: [DONE]"], "stop"),
        ([delta("stop")], "stop"),
        ([delta("eos")], "stop"),
        ([delta("length"), DONE_EVENT], "length"),
        ([delta("LENGTH")], "length"),
        ([delta("model_length")], "length"),
    ],
)
def test_a_reply_may_end_with_a_reason_or_by_saying_that_it_is_done(
    engine: RemoteEngine, server: FakeServer, end: list, reason: str
) -> None:
    server.answer = data(delta(content="Yes."), *end)
    chunks = reply(engine)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("Yes.", reason)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([delta(content="I "), delta("content_filter")], "filtered this reply: ask in other words"),
        ([delta("content_filter: PROHIBITED_CONTENT")], "filtered this reply: ask in other words"),
        ([delta("stop"), DONE_EVENT], "sent an empty reply: ask again"),
        ([DONE_EVENT], "sent an empty reply: ask again"),
        ([delta("stop", content=" \n"), DONE_EVENT], "sent an empty reply: ask again"),
        ([delta(reasoning_content="Hm"), delta("length")], "wrote no answer: allow a longer reply"),
        ([delta("tool_calls", tool_calls=[{"function": {"name": "f"}}])], "called a tool instead of answering"),
        ([delta("insufficient_system_resource")], "reports an error (finish_reason insufficient_system_resource)"),
        ([{"error": "no memory"}], "reports an error (no memory)"),
        ([{"object": "error", "message": "no memory", "code": 500}], "reports an error (no memory)"),
        ([{"type": "error", "error": {"message": "no memory"}}], "reports an error (no memory)"),
        ([{"detail": "no memory"}], "reports an error (no memory)"),
        ([b'{"error": {"message": "no memory"}}'], "reports an error (no memory)"),
        ([b'{"error":\n {"message": "no\\nmemory"}}\n'], "reports an error (no memory)"),
        ([delta(content=5)], "sends something else than text"),
        ([delta(content={"text": "x"})], "sends something else than text"),
        ([delta(content=[5])], "sends something else than text"),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], "sends what isn't the protocol"),
    ],
)
def test_a_reply_without_an_answer_ends_with_a_sentence_that_says_why(
    engine: RemoteEngine, server: FakeServer, events: list, words: str
) -> None:
    server.answer = data(*events)
    with pytest.raises(EngineError) as refused:
        reply(engine)
    assert words in str(refused.value)


def test_a_server_that_answers_whole_in_place_of_streaming_is_understood(
    engine: RemoteEngine, server: FakeServer
) -> None:
    whole = {"object": "chat.completion", "choices": [{"message": {"content": "All at once."}}], "usage": {}}
    server.headers = {"Content-Type": "application/json"}
    server.answer = lambda write: write(json.dumps(whole, indent=2).encode())
    chunks = reply(engine)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("All at once.", "stop")


def test_a_web_page_in_place_of_a_reply_is_told_from_one(engine: RemoteEngine, server: FakeServer) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    server.answer = lambda write: write(b"<!doctype html><title>Hello</title>")
    with pytest.raises(EngineError, match="is /v1 missing"):
        reply(engine)


def test_a_compressed_stream_is_read(engine: RemoteEngine, server: FakeServer) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    server.answer = lambda write: write(gzip.compress(STREAM.encode()))
    assert text_of(reply(engine)) == TEXT


def test_counts_that_come_after_the_end_are_waited_for_but_not_for_ever(
    engine: RemoteEngine, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("menny.engine.remote.engine.AFTER_END_SECONDS", 0.3)

    def lingering(write: Write) -> None:
        write(event("Yes.", "stop"))
        while True:
            time.sleep(0.05)
            write(b": still here\n\n")

    server.answer = lingering
    chunks = reply(engine)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("Yes.", "stop")
    assert server.hung_up.wait(5)


@pytest.mark.parametrize("unit", [b"x", b"data: ", b'data: {"choices": ['])
def test_a_line_without_end_is_cut_off_before_it_fills_the_memory(unit: bytes) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield unit
        while True:
            taken += 1
            assert taken < 1000
            yield b"x" * 65536

    with pytest.raises(TooLongError):
        list(read_events(endless()))


def test_an_event_of_lines_without_end_is_cut_off_too() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"data: x\n" * 1000

    with pytest.raises(TooLongError):
        list(read_events(endless()))


def test_a_reply_whose_line_never_ends_is_a_sentence(engine: RemoteEngine, server: FakeServer) -> None:
    def endless(write: Write) -> None:
        write(b"data: ")
        while True:
            write(b"x" * 65536)

    server.answer = endless
    with pytest.raises(EngineError, match="sends more than was asked for"):
        reply(engine)
    assert server.hung_up.wait(5)


def test_a_reply_that_is_stopped_before_the_server_answers_at_all_hangs_up(
    engine: RemoteEngine, server: FakeServer
) -> None:
    arrived = threading.Event()

    def slow(path: str, body: dict) -> None:
        arrived.set()
        time.sleep(0.5)

    server.respond = slow
    server.answer = data(*[delta(content="word ")] * 100_000)
    prompt = encode_chat([Message("user", "Hi")], "chatml", ByteTokenizer())
    stream = engine.stream(prompt, SamplingParams(max_tokens=500))
    assert arrived.wait(5)
    stream.cancel()
    assert [chunk.finish_reason for chunk in stream] == ["cancelled"]
    assert server.hung_up.wait(5)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.lists(VALUES | VALUES.map(lambda value: {"choices": [value]}) | st.just(DONE), max_size=5))
def test_whatever_an_event_holds_becomes_text_that_can_be_kept_or_a_sentence(events: list) -> None:
    reader = ReplyReader("http://127.0.0.1:8000/v1", "sk-secret", max_tokens=5)
    ended = ""
    try:
        for one in events:
            reader.take(one).encode()
        reader.rest().encode()
        ended = reader.end(may_be_empty=False)
    except EngineError as error:
        ended = str(error)
    assert ended
    assert ended.isprintable()
