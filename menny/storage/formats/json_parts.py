"""A large JSON document in parts: the chats of an array one at a time, so that memory is bounded by the largest one."""

import json
import re
from codecs import BOM_UTF8
from typing import Any

from menny.errors import StorageError

MOST_CHATS = 50_000
MOST_TOKENS = 8_000_000  # brackets, commas and strings of a chat: 100,000 messages with all that belongs to each
MOST_CHAT_BYTES = 128 * 2**20

Part = tuple[int, int]  # where it begins and ends, in bytes

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{},"]', re.DOTALL)  # a lone quote is a string without an end
_FIRST = re.compile(rb"\s*+(.)", re.DOTALL)
_QUOTE, _COMMA, _OPENING, _CLOSING = ord('"'), ord(","), b"[{", b"]}"


def as_utf8(data: bytes) -> bytes:
    """Return a document without a byte order mark, in UTF-8. Raises StorageError where it isn't text."""
    encoding = json.detect_encoding(data[:4]) if data else "utf-8"
    if encoding in ("utf-8", "utf-8-sig"):
        return data.removeprefix(BOM_UTF8)
    try:
        return data.decode(encoding).encode()
    except ValueError:
        raise no_json() from None


def is_array(data: bytes) -> bool:
    """Return whether a document is an array, by its first character."""
    first = _FIRST.match(data)
    return first is not None and first[1] == b"["


def split(data: bytes) -> list[Part]:
    """Find the elements of an array, or the one document that it is otherwise, without reading them.

    Raises StorageError for what isn't JSON by its brackets, and for what holds more than memory is meant to.
    """
    parts: list[Part] = []
    base = int(is_array(data))
    depth, tokens, start, end = 0, 0, None if base else 0, None
    for match in _TOKEN.finditer(data):
        at = match.start()
        token = data[at]
        tokens += 1
        if token in _OPENING:
            depth += 1
            if depth == base == 1 and start is None:
                start, tokens = at + 1, 0
        elif token in _CLOSING:
            depth -= 1
            if depth < base:
                end = at + 1
                break
            if depth == base == 0:
                end = at + 1
                break
        elif token == _COMMA and depth == base == 1 and start is not None:
            _add(parts, start, at)
            start, tokens = at + 1, 0
        elif token == _QUOTE and match.end() == at + 1:
            raise no_json()
        if tokens > MOST_TOKENS:
            raise StorageError(f"one of its chats holds more than {MOST_TOKENS // 10**6} million values")
    if base and (end is None or data[end - 1 : end] != b"]" or start is None):
        raise no_json()
    if end is not None and data[end:].strip():
        raise no_json()
    if base == 0:
        _add(parts, 0, len(data))
    elif start is not None and end is not None and (parts or data[start : end - 1].strip()):
        _add(parts, start, end - 1)
    return parts


def load(data: bytes, part: Part) -> Any:
    """Read one part of a document. Raises StorageError where it isn't JSON."""
    try:
        return json.loads(data[part[0] : part[1]])
    except (ValueError, RecursionError):
        raise no_json() from None


def no_json() -> StorageError:
    """The error for what isn't JSON."""
    return StorageError("it isn't valid JSON, or it is cut off")


def _add(parts: list[Part], start: int, end: int) -> None:
    if len(parts) == MOST_CHATS:
        raise StorageError(f"there are more than {MOST_CHATS:,} chats in it")
    if end - start > MOST_CHAT_BYTES:
        raise StorageError(f"one of its chats is larger than {MOST_CHAT_BYTES // 2**20} MB")
    parts.append((start, end))
