"""PyTorch's checkpoint without PyTorch: a zip with a pickle that lists tensors, and their numbers beside it.

A pickle is a program, so nothing of it is run but the few opcodes that build a list of tensors: `_check_opcodes`
refuses every other one before it starts, `_Reader.find_class` every other name, and what it admits are this module's
own descriptions, never PyTorch's or Python's functions (the format: torch.save, and Python's pickletools).
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from menny.engine.formats import zip_archive
from menny.errors import ModelError, quoted

MAX_PICKLE_BYTES = 1 << 21  # that of a real model has some hundred thousand
MAX_OPCODES = 1 << 18  # a tensor takes about 40
MAX_TENSORS = 1 << 14
MAX_DIMS = 4

STORAGES = {"FloatStorage": np.float32, "HalfStorage": np.float16, "BFloat16Storage": np.uint16}
_ADMITTED = """
PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
SHORT_BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
"""  # opcodes, by pickletools' names
OPCODES = frozenset(_ADMITTED.split())


class _Storage(NamedTuple):
    """Numbers of one type in a record of the archive. A tuple has no attributes that a pickle could change."""

    type_name: str
    record: str
    length: int

    @property
    def itemsize(self) -> int:
        return np.dtype(STORAGES[self.type_name]).itemsize


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.storage.itemsize

    @property
    def reach(self) -> int:
        """Numbers from the first to the last."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


class _Dict(dict[Any, Any]):
    """An OrderedDict of a pickle, which may carry attributes, as a module's state does: they are left out."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Take no attribute over."""


def pth_sizes(path: Path) -> dict[str, int]:
    """Return each tensor's bytes. ModelError for a pickle with anything but tensors, or with one outside its record."""
    with zip_archive.opened(path) as archive:
        return {key: tensor.nbytes for key, tensor in _tensors(path, archive).items()}


def read_pth(path: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, mx.array]]:
    """Yield the tensors of these keys, or all, one by one."""
    with zip_archive.opened(path) as archive:
        for key, tensor in _tensors(path, archive).items():
            if wanted is not None and key not in wanted:
                continue
            storage = tensor.storage
            dtype = np.dtype(STORAGES[storage.type_name])
            data = zip_archive.read(
                archive, storage.record, tensor.reach * dtype.itemsize, tensor.offset * dtype.itemsize
            )
            strides = [stride * dtype.itemsize for stride in tensor.strides]
            numbers = np.ndarray(tensor.shape, dtype, bytes(data) if 0 in tensor.shape else data, strides=strides)
            array = mx.array(np.ascontiguousarray(numbers).reshape(tensor.shape))
            yield key, array.view(mx.bfloat16) if storage.type_name == "BFloat16Storage" else array


def _tensors(path: Path, archive: zipfile.ZipFile) -> dict[str, _Tensor]:
    pickles = [member for member in archive.infolist() if member.filename.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE_BYTES:
        raise ModelError(
            f"{path} is no PyTorch checkpoint of tensors (a zip with one small data.pkl): download it again.", file=path
        )
    root = pickles[0].filename.split("/")[0]
    order = f"{root}/byteorder"
    if order in archive.namelist() and bytes(zip_archive.read(archive, order, 6)) != b"little":
        raise ModelError(f"{path} has big-endian bytes: get the checkpoint for little-endian machines.", file=path)
    data = bytes(zip_archive.read(archive, pickles[0].filename, pickles[0].file_size))
    _check_opcodes(path, data)
    try:
        tensors = _Reader(path, root, data).load()
    except ModelError:
        raise
    except Exception as error:  # an admitted opcode on anything but what it is meant for
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _damaged(path, reason) from error
    if not isinstance(tensors, dict):
        raise ModelError(f"{path}: data.pkl should hold tensors by name, but holds a {type(tensors).__name__}.")
    if len(tensors) > MAX_TENSORS:
        raise ModelError(f"{path}: data.pkl lists {len(tensors)} tensors, more than {MAX_TENSORS}.", file=path)
    for key, tensor in tensors.items():
        _check_tensor(path, archive, key, tensor)
    return tensors


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path}: data.pkl is damaged ({reason}): download the file again.", file=path)


def _check_opcodes(path: Path, data: bytes) -> None:
    """Refuse a pickle with any other opcode, with too many, or with a memo index beyond its own length."""
    try:
        for count, (opcode, argument, place) in enumerate(pickletools.genops(data)):
            if opcode.name not in OPCODES:
                raise ModelError(f"{path}: data.pkl has {opcode.name} at byte {place}; only tensors are admitted.")
            if opcode.name in ("BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise _damaged(path, f"at byte {place}")
            if count >= MAX_OPCODES:
                raise ModelError(f"{path}: data.pkl is longer than a list of tensors can be.", file=path)
    except (ValueError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)[:200]) from error


class _Reader(pickle.Unpickler):
    """An unpickler that builds descriptions of tensors, and nothing else."""

    def __init__(self, path: Path, root: str, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path
        self._root = root

    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        """Return the stand-in for an admitted name: a new function each time, so that a pickle can't change ours."""
        if module == "torch" and name in STORAGES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: _Dict()
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _rebuilt(storage, offset, shape, strides)
        raise ModelError(f"{self._path}: data.pkl asks for {f'{module}.{name}'[:200]!r}; only tensors are admitted.")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage for ("storage", its type, its record's name, a device, its length)."""
        kind, type_name, record, _, length = pid
        is_named = isinstance(type_name, str) and type_name in STORAGES and isinstance(record, str)
        if kind != "storage" or not is_named or not _is_count(length):
            raise _damaged(self._path, "it names a storage of an unknown kind")
        return _Storage(type_name, f"{self._root}/data/{record}", length)


def _rebuilt(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    tuples = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= MAX_DIMS
    if not (isinstance(storage, _Storage) and tuples and all(map(_is_count, (offset, *shape, *strides)))):
        raise ValueError("a tensor is described wrongly")
    return _Tensor(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


def _check_tensor(path: Path, archive: zipfile.ZipFile, key: Any, tensor: Any) -> None:
    """Refuse what isn't a tensor by name, or has numbers that its record doesn't hold."""
    if not isinstance(key, str) or not isinstance(tensor, _Tensor):
        name = quoted(key, 200) if isinstance(key, str) else f"a key that is a {type(key).__name__}"
        raise ModelError(f"{path}: {name} is no tensor by name ({type(tensor).__name__}); only tensors are admitted.")
    storage, name = tensor.storage, quoted(key, 200)
    try:
        record = archive.getinfo(storage.record)
    except KeyError:
        raise ModelError(f"{path}: the numbers of {name} are missing: download the file again.", file=path) from None
    if record.compress_type != zipfile.ZIP_STORED:
        raise ModelError(f"{path}: the numbers of {name} are packed, which is not supported.", file=path)
    held = record.file_size // storage.itemsize
    overlaps = math.prod(tensor.shape) > tensor.reach  # a number that stands for many
    if overlaps or max(storage.length, tensor.offset + tensor.reach) > held:
        raise ModelError(f"{path}: the numbers of {name} are cut short or described wrongly: download the file again.")
