"""Server-sent events, read from a stream of bytes as the HTML standard has them, and a little more tolerantly.

Lines end in LF, CR or CRLF; a byte order mark, comments, and events without data are skipped. Tolerated besides: a last
event without an empty line, events that no empty line parts, data that is no JSON (a ping), and one whole JSON answer
in place of a stream.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from menny.engine.remote.errors import NotTheProtocolError

DONE = "[DONE]"
MOST_BYTES = 1 << 20  # of a line, and of an event
MOST_WHOLE_BYTES = 8 << 20  # of an answer that is no stream
BOM = b"\xef\xbb\xbf"


class TooLongError(Exception):
    """A line, or an event, that doesn't end."""


def read_events(pieces: Iterable[bytes]) -> Iterator[Any]:
    """Yield the JSON of every event, and DONE for the one that says so.

    Raises TooLongError, and NotTheProtocolError for an event that is neither JSON nor a mere word.
    """
    data: list[bytes] = []
    size, lines = 0, _lines(pieces)
    for number, line in enumerate(lines):
        if number == 0:
            line = line.removeprefix(BOM)
            if line.lstrip().startswith(b"{"):
                yield _whole(chain([line], lines))
                return
        if not line:
            yield from _parsed(data)
            data, size = [], 0
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
            size += len(line)
            if size > MOST_BYTES:
                raise TooLongError
    yield from _parsed(data)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest, after_cr = bytearray(), False
    for piece in pieces:
        if not piece:
            continue
        text = piece[1:] if after_cr and piece.startswith(b"\n") else piece
        after_cr = piece.endswith(b"\r")
        head, *tail = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += head
        for start in tail:
            yield bytes(rest)
            rest = bytearray(start)
        if len(rest) > MOST_BYTES:
            raise TooLongError
    if rest:
        yield bytes(rest)


def _parsed(data: list[bytes]) -> Iterator[Any]:
    """Yield the JSON of an event; of several that no empty line parts, each by itself."""
    if not data:
        return
    try:
        yield _value(b"\n".join(data))
    except NotTheProtocolError:
        if len(data) == 1:
            raise
        yield from [_value(line) for line in data]


def _value(line: bytes) -> Any:
    """Return the JSON of an event, DONE, or None for a word that is neither."""
    try:
        text = line.decode().strip()
        if text == DONE:
            return DONE
        return json.loads(text)
    except UnicodeDecodeError:
        raise NotTheProtocolError("it is no UTF-8") from None
    except (ValueError, RecursionError):
        if text.startswith(("{", "[", '"')) or "\n" in text:
            raise NotTheProtocolError("it is no JSON") from None
        return None


def _whole(lines: Iterable[bytes]) -> Any:
    content = bytearray()
    for line in lines:
        content += line + b"\n"
        if len(content) > MOST_WHOLE_BYTES:
            raise TooLongError
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise NotTheProtocolError("it is no JSON") from None
