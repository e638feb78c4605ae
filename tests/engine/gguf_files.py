"""Writes small GGUF files for tests: well-formed by default, and as broken as a test asks for."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

U8, U32, I32, F32, BOOL, STRING, ARRAY, U64, F64 = 0, 4, 5, 6, 7, 8, 9, 10, 12
CODES = {U8: "B", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", F64: "d"}


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: dims in ggml's order, and its raw data."""

    name: str
    dims: Sequence[int]
    ggml_type: int
    data: bytes
    offset: int | None = None


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value: Any) -> bytes:
    return string(value) if kind == STRING else struct.pack("<" + CODES[kind], value)


def entry(key: str | bytes, kind: int, value: Any) -> bytes:
    return string(key) + struct.pack("<I", kind) + scalar(kind, value)


def array_entry(key: str, kind: int, values: Sequence[Any], count: int | None = None) -> bytes:
    items = b"".join(scalar(kind, value) for value in values)
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values) if count is None else count) + items


def gguf(
    entries: Sequence[bytes] = (),
    tensors: Sequence[Tensor] = (),
    *,
    alignment: int = 32,
    version: int = 3,
    n_entries: int | None = None,
    n_tensors: int | None = None,
) -> bytes:
    """The bytes of a GGUF file; counts and offsets can be forged."""
    header = b"GGUF" + struct.pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(entries) if n_entries is None else n_entries,
    )
    header += b"".join(entries)
    data = b""
    for tensor in tensors:
        data += b"\0" * (-len(data) % alignment)
        offset = len(data) if tensor.offset is None else tensor.offset
        header += string(tensor.name) + struct.pack("<I", len(tensor.dims))
        header += struct.pack(f"<{len(tensor.dims)}Q", *tensor.dims) + struct.pack("<IQ", tensor.ggml_type, offset)
        data += tensor.data
    return header + b"\0" * (-len(header) % alignment) + data
