"""How odd streams end: with errors in every form in which servers report them, or with the whole reply once more."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.engine.remote.connection import MOST_PIECE_BYTES, unpacked
from menny.engine.remote.errors import NotTheProtocolError
from menny.engine.remote.events import read_events
from menny.engine.remote.reply import ReplyReader
from menny.errors import EngineError

WORD = b'data: {"choices": [{"delta": {"content": "par"}}]}\n\n'


def text_of(stream: bytes) -> str:
    reader = ReplyReader("http://here/v1", None, 100)
    return "".join(reader.take(event) for event in read_events([stream]))


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (b'event: error\ndata: {"message": "overloaded", "code": 529}\n\n', "overloaded"),
        (b'event:error\ndata: {"detail": "overloaded"}\n\n', "overloaded"),
        (b'data: {"message": "overloaded"}\nevent: error\n\n', "overloaded"),
        (b'event: error\ndata: {"error": {"message": "overloaded"}}\n\n', "overloaded"),
        (b"event: error\ndata: out of memory\n\n", "out of memory"),
        (b"event: error\ndata: {broken\n\n", "{broken"),
        (b"event: error\n\n", "without a reason"),
        (b'error: {"code": 500, "message": "context shift is disabled"}\n\n', "context shift is disabled"),
        (b'error: {"code": 500, "message": "context shift is disabled"}', "context shift is disabled"),
        (b'data: {"error": "boom"}\n\ndata: [DONE]\n\n', "boom"),
    ],
)
def test_an_error_in_a_stream_is_shown_with_the_servers_reason(ending: bytes, reason: str) -> None:
    with pytest.raises(EngineError) as raised:
        text_of(WORD + ending)
    assert f"reports an error ({reason})" in str(raised.value)


@pytest.mark.parametrize("name", [b"message", b"ping", b"completion", b"errors", b""])
def test_an_event_of_another_name_is_read_as_before(name: bytes) -> None:
    assert text_of(b"event: " + name + b"\n" + WORD) == "par"
    assert text_of(b"event: error-free\n" + WORD + WORD) == "parpar"


@pytest.mark.parametrize("delta", [b"{}", b"null", b'{"content": ""}'])
def test_a_whole_reply_that_repeats_what_was_streamed_is_not_added_to_it(delta: bytes) -> None:
    last = b'data: {"choices": [{"delta": %b, "message": {"content": "par"}, "finish_reason": "stop"}]}\n\n' % delta
    assert text_of(WORD + last) == "par"
    assert text_of(last) == ("" if delta.startswith(b'{"') else "par")


@given(st.binary(max_size=3000), st.integers(1, 50), st.sampled_from([gzip.compress, zlib.compress]))
def test_a_compressed_answer_is_unpacked_however_it_is_cut(text: bytes, width: int, compress) -> None:
    packed = compress(text)
    assert b"".join(unpacked(packed[at : at + width] for at in range(0, len(packed), width))) == text


def test_a_little_that_unpacks_to_very_much_comes_in_short_pieces() -> None:
    packed = gzip.compress(b"x" * 50_000_000)
    assert len(packed) < 60_000
    lengths = [len(piece) for piece in unpacked([packed])]
    assert max(lengths) == MOST_PIECE_BYTES
    assert sum(lengths) == 50_000_000


@pytest.mark.parametrize("packed", [b"not packed", b"\x1f\x8b\x08\0\0" + b"\xff" * 40], ids=["plain", "damaged gzip"])
def test_what_cant_be_unpacked_isnt_the_protocol(packed: bytes) -> None:
    with pytest.raises(NotTheProtocolError):
        list(unpacked([packed]))
