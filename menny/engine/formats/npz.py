"""NumPy's archive of arrays, as MLX's examples export weights: a zip with one .npy a key (numpy.lib.format).

Headers and sizes are checked in Python before anything of that size is allocated; no object arrays, so no pickle.
"""

import ast
import math
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from menny.engine.formats import zip_archive
from menny.errors import ModelError

MOST_HEADER = 1 << 14
MOST_DIMS = 4
DTYPES = {"<f2": np.float16, "<f4": np.float32, "<u4": np.uint32, "|V2": np.uint16, "<V2": np.uint16}
BFLOAT16 = ("|V2", "<V2")  # NumPy has none, and MLX writes it as 2 bytes without a meaning


@dataclass(frozen=True)
class _Array:
    """The place and form of an array in the archive."""

    member: str
    start: int  # of its numbers, behind the header
    kind: str  # as the header has it
    shape: tuple[int, ...]
    by_columns: bool

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(DTYPES[self.kind]).itemsize


def npz_sizes(path: Path) -> dict[str, int]:
    """Return each array's bytes. ModelError for one that is cut short, or of a type that weights don't have."""
    with zip_archive.opened(path) as archive:
        return {key: array.nbytes for key, array in _arrays(path, archive)}


def read_npz(path: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, mx.array]]:
    """Yield the arrays of these keys, or all, one by one."""
    with zip_archive.opened(path) as archive:
        for key, array in _arrays(path, archive):
            if wanted is not None and key not in wanted:
                continue
            data = zip_archive.read(archive, array.member, array.nbytes, array.start)
            flat = np.frombuffer(data, DTYPES[array.kind])
            numbers = flat.reshape(array.shape, order="F" if array.by_columns else "C")
            weight = mx.array(np.ascontiguousarray(numbers).reshape(array.shape))
            yield key, weight.view(mx.bfloat16) if array.kind in BFLOAT16 else weight


def _arrays(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, _Array]]:
    for member in archive.infolist():
        name = member.filename
        if not name.endswith(".npy"):
            raise ModelError(f"{path}: {name[:200]!r} is no array: download the file again.", file=path)
        array = _header(path, archive, member)
        if array.start + array.nbytes != member.file_size:
            raise ModelError(
                f"{path}: {name[:200]!r} is cut short, or described wrongly: download the file again.", file=path
            )
        yield name.removesuffix(".npy"), array


def _header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Array:
    """Read an array's form: a magic, a version, a length, and a Python dict of that many bytes."""
    name = f"{path}: {member.filename[:200]!r}"
    with archive.open(member) as file:
        magic, version = file.read(6), file.read(2)
        width = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}.get(version)
        length = int.from_bytes(file.read(width or 0), "little")
        if magic != b"\x93NUMPY" or width is None or length > MOST_HEADER:
            raise ModelError(f"{name} has no readable header: download the file again.")
        header = _literal(file.read(length).decode("latin-1"))
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ModelError(f"{name} has no readable header: download the file again.")
    kind, by_columns, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ModelError(f"{name} has the type {str(kind)[:40]!r}, which weights can't have.")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 1 << 31 for size in shape):
        raise ModelError(f"{name} has the impossible shape {str(shape)[:60]}.")
    if len(shape) > MOST_DIMS:
        raise ModelError(f"{name} has {len(shape)} dimensions, which weights can't have.")
    return _Array(member.filename, 8 + width + length, kind, shape, bool(by_columns))


def _literal(text: str) -> object:
    """A Python literal, or None for what isn't one."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
