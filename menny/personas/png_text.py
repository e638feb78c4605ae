"""The texts in a PNG file: a picture's chunks are walked with checks, and nothing else of it is looked at.

The format is that of the PNG specification, section 5 (chunks) and 11.3.3 (tEXt, zTXt, iTXt).
"""

import struct
import zlib
from collections.abc import Collection, Iterator, Mapping

from menny.errors import ConfigError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 20_000
MAX_TEXT = 8 * 1024 * 1024


def read_texts(data: bytes, wanted: Collection[str]) -> dict[str, bytes]:
    """The texts under the wanted keywords (in lower case), each as bytes; of two under one keyword, the first.

    Raises ConfigError where the file isn't a whole PNG or a wanted text isn't what it says it is.
    """
    found: dict[str, bytes] = {}
    for kind, content in _chunks(data):
        keyword = content.split(b"\0", 1)[0][:80].decode("latin-1").lower()
        if kind in (b"tEXt", b"zTXt", b"iTXt") and keyword in wanted and keyword not in found:
            found[keyword] = _text(kind, content[len(keyword) + 1 :])
    return found


def with_texts(png: bytes, texts: Mapping[str, bytes]) -> bytes:
    """A PNG with texts added, each under its keyword."""
    chunks = [_chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text) for keyword, text in texts.items()]
    end = png.rindex(b"IEND") - 4
    return png[:end] + b"".join(chunks) + png[end:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk up to the end; a text's checksum has to be right."""
    if not data.startswith(SIGNATURE):
        raise ConfigError("it isn't a PNG file")
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        header = data[at : at + 8]
        if len(header) < 8:
            raise ConfigError("the picture is cut off; get the file again")
        (length,), kind = struct.unpack(">I", header[:4]), header[4:]
        content, checksum = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            raise ConfigError("the picture is cut off; get the file again")
        if kind.endswith(b"Xt") and struct.unpack(">I", checksum)[0] != zlib.crc32(kind + content):
            raise ConfigError("the picture's text is damaged; get the file again")
        if kind == b"IEND":
            return
        yield kind, content
        at += 12 + length
    raise ConfigError(f"the picture has more than {MAX_CHUNKS:,} parts")


def _text(kind: bytes, rest: bytes) -> bytes:
    """What comes after the keyword, unpacked where it is packed."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _unpacked(rest[1:])
    is_packed, _method, *_ = rest[:2].ljust(2, b"\0")
    after_language_and_translation = rest[2:].split(b"\0", 2)
    if len(after_language_and_translation) < 3:
        raise ConfigError("the picture's text is damaged; get the file again")
    text = after_language_and_translation[2]
    return _unpacked(text) if is_packed else text


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MAX_TEXT)
    except zlib.error:
        raise ConfigError("the picture's text is damaged; get the file again") from None
    if not unpacker.eof:
        raise ConfigError(f"the picture's text is cut off, or larger than {MAX_TEXT // 1024**2} MB")
    return text


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
