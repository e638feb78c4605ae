"""Imports take memory by what they hold, not by what a hostile file makes of it."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from menny.config.paths import PROJECT

MEGABYTES = 16
MOST_MEGABYTES = 200  # what the process takes besides the file

IMPORT = """
import pathlib, sys
from menny.errors import StorageError
from menny.storage import unpack
from tools.peak_memory import peak_memory
data = pathlib.Path(sys.argv[1]).read_bytes()
before = peak_memory()
try:
    print(sum(len(transcript.entries) for transcript in unpack("some.file", data).transcripts))
except StorageError as error:
    print(error)
print((peak_memory() - before) // 2**20)
"""

NODE = b'"%d":{"message":{"author":{"role":"user"},"content":{"parts":["x"]}}}'


def filled(before: bytes, unit: bytes, after: bytes, separator: bytes = b",") -> bytes:
    return before + separator.join([unit] * (MEGABYTES * 2**20 // (len(unit) + len(separator)))) + after


def nodes(each: int, before: bytes, after: bytes) -> bytes:
    """Chats in a row, each of so many messages."""
    chat = b'{"id":"%d","mapping":{' + b",".join(NODE % number for number in range(each)) + b"}}"
    count = MEGABYTES * 2**20 // len(chat)
    return before + b",".join(chat.replace(b"%d", b"%d" % number, 1) for number in range(count)) + after


HOSTILE: dict[str, Callable[[], bytes]] = {
    "lists": lambda: filled(b"[", b"[]", b"]"),
    "objects": lambda: filled(b"[", b"{}", b"]"),
    "numbers": lambda: filled(b"[", b"0", b"]"),
    "texts": lambda: filled(b"[", b'""', b"]"),
    "never closed": lambda: filled(b"", b"[", b"", b""),
    "objects never closed": lambda: filled(b"", b'{"a":', b"", b""),
    "an open text": lambda: filled(b'["', b"a", b"", b""),
    "escaped quotes": lambda: filled(b'["', b'\\"', b"", b""),
    "lone quotes": lambda: filled(b"[", b'"', b"", b" "),
    "one text": lambda: filled(b'["', b"a", b'"]', b""),
    "one wide text": lambda: filled('["😀'.encode(), b"a", b'"]', b""),
    "lists in a chat": lambda: filled(b'[{"mapping":{"a":[', b"[]", b"]}}]"),
    "lists in one chat": lambda: filled(b'{"mapping":{"a":[', b"[]", b"]}}"),
    "empty nodes": lambda: filled(b'[{"mapping":{', b'"a":{}', b"}}]"),
    "empty parts": lambda: filled(b'[{"mapping":{"a":{"message":{"content":{"parts":[', b'""', b"]}}}}}]"),
    "our messages": lambda: filled(b'{"format":"menny-chat","version":1,"messages":[', b"{}", b"]}"),
    "our extras": lambda: filled(b'{"format":"menny-chat","messages":[{"extra":{"a":[', b"[]", b"]}}]}"),
    "spaces": lambda: filled(b"[", b" ", b"]", b""),
    "many small chats": lambda: nodes(3, b"[", b"]"),
    "chats of ten thousand messages": lambda: nodes(10_000, b"[", b"]"),
    "one chat of all messages": lambda: b'{"mapping":{' + b",".join(NODE % n for n in range(400_000)) + b"}}",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "packed"),
    [*((name, False) for name in HOSTILE), *((name, True) for name in ("lists", "our messages", "many small chats"))],
)
def test_an_import_takes_bounded_memory(tmp_path: Path, name: str, packed: bool) -> None:
    data, file = HOSTILE[name](), tmp_path / "import"
    if packed:
        inside = "chats/x.json" if b"menny-chat" in data[:100] else "conversations.json"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
            made.writestr(inside, data)
    else:
        file.write_bytes(data)
    command = [sys.executable, "-c", IMPORT, str(file)]
    done = subprocess.run(command, env={"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result, megabytes = done.stdout.splitlines()
    assert "Nothing was imported" in result or int(result) > 0
    assert int(megabytes) < MOST_MEGABYTES + (MEGABYTES if packed else 0), result
