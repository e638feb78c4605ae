"""The safetensors files of a model folder: headers checked in Python before MLX reads them, and files written.

A header is 8 bytes of length, then a JSON object: tensor → dtype, shape, and where its bytes lie behind the header
(the format's description: github.com/huggingface/safetensors).
"""

import json
import math
import os
import struct
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import mlx.core as mx

from menny.errors import ModelError, quoted

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}  # what MLX reads
_BYTES |= {"F8_E4M3": 1}  # as bytes, see checkpoints/fp8.py
_BYTES |= {"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
_NAMES = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16", mx.uint32: "U32"}  # what weights are written in
_MAX_HEADER = 1 << 24  # bytes; a model of a thousand tensors has some hundred thousand, the format allows 100 MB
_MAX_TENSORS = 1 << 16
_MAX_DIM = 1 << 31  # MLX counts a dimension in 32 bits


def read_safetensors_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return each tensor's dtype and shape.

    Raises ModelError for a header that is cut short, larger than a model's, or doesn't share out the file's bytes.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
            if length > size - 8:
                raise ModelError(f"{path} is cut short or no safetensors file: download it again.", file=path)
            if length > _MAX_HEADER:
                raise ModelError(f"{path}: the header is larger than {_MAX_HEADER >> 20} MiB.", file=path)
            header = _parse(file.read(length))
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}.", file=path) from error
    except (ValueError, RecursionError) as error:
        reason = quoted(str(error), 200)
        raise ModelError(f"{path}: the header is not readable ({reason}): download the file again.") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path}: the header should be a JSON object: download the file again.", file=path)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelError(f"{path}: the header's __metadata__ should hold texts: download the file again.", file=path)
    entries = {name: _entry(path, name, entry, size - 8 - length) for name, entry in header.items()}
    _check_places(path, {name: entry["data_offsets"] for name, entry in header.items()}, size - 8 - length)
    return entries


def _parse(data: bytes) -> Any:
    """Return the JSON of a header. Raises ValueError, before parsing where it describes more tensors than a model."""
    if data.count(b"{") + data.count(b"[") > 3 * _MAX_TENSORS:
        raise ValueError(f"it describes more than {_MAX_TENSORS} tensors")
    if data.count(b",") > 16 * _MAX_TENSORS:
        raise ValueError("it holds more values than a model's header can")
    return json.loads(data.decode("utf-8"), object_pairs_hook=_without_repeats)


def _check_places(path: Path, places: Mapping[str, list[int]], data_bytes: int) -> None:
    """Refuse tensors that overlap, gaps between them and bytes behind the last: the format has none of these."""
    end, before = 0, ""
    for name, (start, stop) in sorted(places.items(), key=lambda item: item[1]):
        if start < end:
            names = f"{quoted(before)} and {quoted(name)}"
            raise ModelError(f"{path}: the tensors {names} overlap: download the file again.", file=path)
        if start > end:
            raise ModelError(f"{path}: {start - end} bytes before tensor {quoted(name)} belong to none.", file=path)
        end, before = stop, name
    if end != data_bytes:
        raise ModelError(f"{path} has {data_bytes - end} bytes behind its last tensor: download it again.", file=path)


def safetensors_sizes(path: Path) -> dict[str, int]:
    """Return each tensor's bytes, by a checked header."""
    return {key: _BYTES[dtype] * math.prod(shape) for key, (dtype, shape) in read_safetensors_header(path).items()}


def read_safetensors(path: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, mx.array]]:
    """Yield the tensors of these keys, or all, of a file whose header was checked; MLX reads each when it is needed."""
    try:
        loaded = mx.load(str(path))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} can't be read ({reason}): download the file again.", file=path) from error
    for key, weight in loaded.items() if isinstance(loaded, dict) else ():
        if wanted is None or key in wanted:
            yield key, weight


def write_safetensors(path: Path, arrays: Mapping[str, mx.array]) -> None:
    """Write a file, which is on the disk when this returns. Raises OSError, which MLX's own writer hides."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(memoryview(mx.contiguous(array).view(mx.uint8)))  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError for a repeated key: two readers may differ on which one counts."""
    loaded = dict(pairs)
    if len(loaded) < len(pairs):
        raise ValueError("it holds a key twice")
    return loaded


def _entry(path: Path, name: str, entry: object, data_bytes: int) -> tuple[str, tuple[int, ...]]:
    """Return one tensor's dtype and shape, after its place was checked."""
    wrong = ModelError(f"{path}: tensor {name[:200]!r} is described wrongly: download the file again.", file=path)
    if not isinstance(entry, dict):
        raise wrong
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (_is_counts(shape, _MAX_DIM) and _is_counts(offsets) and len(offsets) == 2 and isinstance(dtype, str)):
        raise wrong
    if dtype not in _BYTES:
        raise ModelError(f"{path}: tensor {name[:200]!r} has the type {dtype[:20]!r}, which is not supported.")
    start, end = offsets
    if end > data_bytes:
        raise ModelError(f"{path} is cut short within tensor {name[:200]!r}: download the file again.", file=path)
    if end - start != math.prod(shape) * _BYTES[dtype]:
        raise wrong
    return dtype, tuple(shape)


def _is_counts(value: object, limit: int = 1 << 48) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < limit for n in value)
