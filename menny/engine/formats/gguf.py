"""The header of a GGUF file, read and checked in Python before anything else is let near the file.

A reader that trusts a header's counts and offsets can be led outside the file, which ends the process and not only
the call. So every count, length, type, dimension and offset is compared with the file's size here, before anything
of that size is allocated. The layout is described in ggml's docs/gguf.md: magic, version, counts, metadata, tensor
descriptions, padding, tensor data; all little-endian.
"""

import math
import os
import stat
import struct
from dataclasses import dataclass
from io import BufferedReader
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

from menny.errors import ModelError, quoted

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

MAX_HEADER_BYTES = 256 << 20
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 16
MAX_KEY_BYTES = (1 << 16) - 1
MAX_NAME_BYTES = 64
MAX_DIMS = 4
MAX_DIM = 1 << 27
MAX_ELEMENTS = (1 << 31) - 1  # of one tensor, and dimensions below 2^27: what a reader counting in int32 survives
MAX_ARRAY_ITEMS = 1 << 22  # of all metadata arrays together

UINT32, BOOL, STRING, ARRAY, FLOAT64 = 4, 7, 8, 9, 12
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class GGMLType:
    """A storage type of tensors: `block` numbers share `nbytes` bytes."""

    name: str
    block: int
    nbytes: int


GGML_TYPES = {
    0: GGMLType("F32", 1, 4),
    1: GGMLType("F16", 1, 2),
    2: GGMLType("Q4_0", 32, 18),
    3: GGMLType("Q4_1", 32, 20),
    6: GGMLType("Q5_0", 32, 22),
    7: GGMLType("Q5_1", 32, 24),
    8: GGMLType("Q8_0", 32, 34),
    9: GGMLType("Q8_1", 32, 36),
    10: GGMLType("Q2_K", 256, 84),
    11: GGMLType("Q3_K", 256, 110),
    12: GGMLType("Q4_K", 256, 144),
    13: GGMLType("Q5_K", 256, 176),
    14: GGMLType("Q6_K", 256, 210),
    15: GGMLType("Q8_K", 256, 292),
    30: GGMLType("BF16", 1, 2),
}
# Types that files are named after, and that Menny doesn't read.
_OTHERS = "IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M"
OTHER_TYPES = dict(enumerate(_OTHERS.split(), start=16)) | {34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """A tensor: `shape` is row-major (ggml's dimensions reversed), `offset` counts from the file's start."""

    name: str
    shape: tuple[int, ...]
    ggml_type: int
    offset: int
    nbytes: int

    @property
    def kind(self) -> GGMLType:
        """The storage type of its numbers."""
        return GGML_TYPES[self.ggml_type]

    @property
    def type_name(self) -> str:
        """The type as people write it, e.g. "Q4_1"."""
        return self.kind.name

    @property
    def size(self) -> int:
        """The count of its numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """A checked header: metadata as plain Python values (arrays are lists), tensors by name in the file's order."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GGUFTensor]


def read_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Read and check the whole header of a GGUF file, version 2 or 3. Raises ModelError, which names the file."""
    path = Path(path)
    size = _size(path)
    try:
        with path.open("rb") as file:
            header = _Header(path, file, size)
            n_tensors, n_keys = header.counts()
            metadata = header.metadata(n_keys)
            tensors = _tensors(header, n_tensors, _alignment(header, metadata))
    except OSError as error:
        raise ModelError(f"The model file {path} can't be read: {error.strerror or error}.") from error
    return GGUFFile(path, metadata, tensors)


def _size(path: Path) -> int:
    """The file's size, asked for before it is opened: opening a pipe would wait for its writer."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelError(f"The model file {str(path)!r} can't be read: {why}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"The model file {path} is not a regular file. Choose a .gguf file.")
    if status.st_size == 0:
        raise ModelError(f"The model file {path} is empty. Download it again.")
    return status.st_size


class _Header:
    """A reader that never passes the file's end: each take is compared with what is left before it is read."""

    def __init__(self, path: Path, file: BufferedReader, size: int) -> None:
        self.path = path
        self.file = file
        self.size = size
        self.offset = 0
        self.end = min(size, MAX_HEADER_BYTES)
        self.items_left = MAX_ARRAY_ITEMS

    def broken(self, what: str) -> ModelError:
        return ModelError(
            f"The GGUF file {self.path} is damaged: {what}. Download or convert it again.", file=self.path
        )

    def take(self, count: int, what: str) -> bytes:
        if count > self.end - self.offset:
            limit = "the file ends" if self.end == self.size else f"the header passes {MAX_HEADER_BYTES >> 20} MiB"
            raise self.broken(f"{limit} within {what}")
        data = self.file.read(count)
        if len(data) != count:
            raise self.broken(f"the file ends within {what}")
        self.offset += count
        return data

    def number(self, code: str, what: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def text(self, what: str, limit: int = MAX_HEADER_BYTES) -> str:
        length = self.number("Q", what)
        if length > limit:
            raise self.broken(f"{what} is {length} bytes long, more than {limit}")
        data = self.take(length, what)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.broken(f"{what} is not UTF-8") from error

    def name(self, what: str, limit: int) -> str:
        name = self.text(what, limit)
        if not name or "\0" in name:
            raise self.broken(f"{what} is {'empty' if not name else 'not plain text'}")
        return name

    def counts(self) -> tuple[int, int]:
        """Tensors and keys, after magic and version."""
        if self.size < len(MAGIC) or self.take(len(MAGIC), "the magic") != MAGIC:
            raise ModelError(f"The file {self.path} is not a GGUF file: it doesn't start with the letters GGUF.")
        version = self.number("I", "the version")
        if version not in VERSIONS:
            why = "a big-endian or damaged one" if version > 1 << 16 else f"version {version}"
            raise ModelError(f"The GGUF file {self.path} is {why}; Menny reads versions 2 and 3. Convert it again.")
        n_tensors, n_keys = self.number("Q", "the tensor count"), self.number("Q", "the metadata count")
        for count, limit, noun in ((n_tensors, MAX_TENSORS, "tensors"), (n_keys, MAX_KEYS, "metadata keys")):
            if count > limit:
                raise self.broken(f"it claims {count} {noun}, more than {limit}")
        return n_tensors, n_keys

    def metadata(self, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for index in range(count):
            key = self.name(f"the name of metadata key {index}", MAX_KEY_BYTES)
            if key in metadata:
                raise self.broken(f"the metadata key {quoted(key)} stands there twice")
            metadata[key] = self.value(key)
        return metadata

    def value(self, key: str) -> Any:
        what = f"the value of {quoted(key)}"
        kind = self.number("I", what)
        if kind == STRING:
            return self.text(what)
        if kind == ARRAY:
            return self.array(what)
        if key == "general.alignment" and kind != UINT32:  # another type goes unseen by readers that expect this one
            raise self.broken("'general.alignment' is not a uint32")
        return self.scalars(kind, 1, what)[0]

    def array(self, what: str) -> list[Any]:
        kind, count = self.number("I", what), self.number("Q", what)
        if kind == ARRAY:
            raise self.broken(f"{what} is an array of arrays")
        if count > self.items_left:
            raise self.broken(f"{what} claims {count} items; all arrays together may have {MAX_ARRAY_ITEMS}")
        self.items_left -= count
        return self.texts(count, what) if kind == STRING else self.scalars(kind, count, what)

    def scalars(self, kind: int, count: int, what: str) -> list[Any]:
        if kind not in SCALARS:
            raise self.broken(f"{what} has the unknown type {kind}")
        if kind == FLOAT64:  # mlx steps over it by 4 bytes instead of 8, and reads the rest of the header astray
            raise ModelError(f"The GGUF file {self.path} can't be read safely: {what} is a float64. Convert it again.")
        code = f"<{count}{SCALARS[kind]}"
        values = list(struct.unpack(code, self.take(struct.calcsize(code), what)))
        if kind == BOOL:
            if any(value > 1 for value in values):
                raise self.broken(f"{what} is neither true nor false")
            return [bool(value) for value in values]
        return values

    def texts(self, count: int, what: str) -> list[str]:
        """An array of strings: the one long loop of a header, so the checks of `text` are laid out flat here."""
        read, offset, end = self.file.read, self.offset, self.end
        if count > (end - offset) // 8:
            raise self.broken(f"the file ends within {what}")
        texts = []
        for index in range(count):
            length = int.from_bytes(read(8), "little")
            offset += 8 + length
            if offset > end:
                raise self.broken(f"the file ends within item {index} of {what}")
            try:
                texts.append(read(length).decode("utf-8"))
            except UnicodeDecodeError as error:
                raise self.broken(f"item {index} of {what} is not UTF-8") from error
        self.offset = offset
        if self.file.tell() != offset:
            raise self.broken(f"the file ends within {what}")
        return texts


def _alignment(header: _Header, metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 8 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise header.broken("'general.alignment' is not a power of two between 8 and 1048576")
    return alignment


def _tensors(header: _Header, count: int, alignment: int) -> dict[str, GGUFTensor]:
    tensors: dict[str, GGUFTensor] = {}
    for index in range(count):
        tensor = _tensor(header, index)
        if tensor.name in tensors:
            raise header.broken(f"the tensor {tensor.name!r} stands there twice")
        tensors[tensor.name] = tensor
    start = -(-header.offset // alignment) * alignment
    placed = {
        name: GGUFTensor(name, tensor.shape, tensor.ggml_type, start + tensor.offset, tensor.nbytes)
        for name, tensor in tensors.items()
    }
    _check_places(header, list(placed.values()), alignment)
    return placed


def _tensor(header: _Header, index: int) -> GGUFTensor:
    """Read a description, whose offset still counts from the start of the tensor data."""
    name = header.name(f"the name of tensor {index}", MAX_NAME_BYTES)
    what = f"the description of tensor {name!r}"
    n_dims = header.number("I", what)
    if not 1 <= n_dims <= MAX_DIMS:
        raise header.broken(f"the tensor {name!r} has {n_dims} dimensions, not 1 to {MAX_DIMS}")
    dims: list[int] = [header.number("Q", what) for _ in range(n_dims)]
    if not all(0 < dim <= MAX_DIM for dim in dims) or math.prod(dims) > MAX_ELEMENTS:
        raise header.broken(f"the tensor {name!r} has the impossible dimensions {dims}")
    ggml_type, offset = header.number("I", what), header.number("Q", what)
    kind = GGML_TYPES.get(ggml_type)
    if kind is None:
        type_name = OTHER_TYPES.get(ggml_type, f"of ggml's type number {ggml_type}")
        raise ModelError(
            f"The GGUF file {header.path} holds the tensor {name!r} as {type_name}, which Menny doesn't read. "
            f"Get the same model in Q4_K_M, Q5_K_M, Q6_K, Q8_0 or F16."
        )
    if dims[0] % kind.block:
        raise header.broken(f"a row of tensor {name!r} has {dims[0]} numbers, which {kind.name} can't divide")
    return GGUFTensor(name, tuple(reversed(dims)), ggml_type, offset, math.prod(dims) // kind.block * kind.nbytes)


def _check_places(header: _Header, tensors: list[GGUFTensor], alignment: int) -> None:
    for tensor in tensors:
        if tensor.offset % alignment:
            raise header.broken(f"the data of tensor {tensor.name!r} is not aligned to {alignment} bytes")
        if tensor.offset + tensor.nbytes > header.size:
            raise ModelError(
                f"The GGUF file {header.path} is cut short: the data of tensor {tensor.name!r} would end at byte "
                f"{tensor.offset + tensor.nbytes}, but the file has {header.size}. Download it again."
            )
    for before, after in pairwise(sorted(tensors, key=attrgetter("offset"))):
        if before.offset + before.nbytes > after.offset:
            raise header.broken(f"the tensors {before.name!r} and {after.name!r} overlap")
