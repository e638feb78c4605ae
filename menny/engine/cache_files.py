"""CacheFiles: caches of conversations in files, so that a chat goes on after a restart without being read anew.

A file holds a cache as it is in memory, with the ids of its tokens; its name is the digest of what it is bound to (the
model's files, the versions of what computes) and of these ids. It is written whole or not at all, and read by a memory
map; one that is cut, changed or of another model is removed and never believed, as its content has a checksum. The
folder is bounded in bytes, and what was used longest ago leaves first.

Layout: MAGIC, the header's length (8 bytes), the header as JSON, the ids as int32, then each layer's keys and values.
"""

import hashlib
import json
import logging
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from menny.engine.cache import Cache, KVCache, RollingCache
from menny.engine.cpu.kept import digest_of_sources
from menny.files import open_atomic, remove_unfinished

log = logging.getLogger(__name__)

MAGIC = b"menny-cache-2\n"
MOST_BYTES = 4 << 30
LEAST_TOKENS = 128  # fewer are read anew as quickly
MOST_SECONDS = 30 * 24 * 3600  # a file that wasn't used for so long is removed
MAX_HEADER = 1 << 20
ENDING = ".cache"
UNSOUND = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)  # what reading one may raise
DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16, "int16": mx.int16}


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """A folder for the caches of conversations, and the bytes that they may take there."""

    path: Path
    limit: int = MOST_BYTES


@dataclass(frozen=True)
class CachedPrefix:
    """A cache and the tokens that it holds.

    The first `prefilled` of them were computed from the start in whole chunks, as any prefill of them would be.
    `may_be_filed`: the cache may be written to a file.
    """

    tokens: tuple[int, ...]
    cache: Cache
    prefilled: int = 0
    may_be_filed: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file that can be read: the tokens it holds, and its header."""

    path: Path
    tokens: tuple[int, ...]
    header: Mapping[str, Any]


class CacheFiles:
    """The files of one model in a folder; they belong to the engine's thread.

    `binding` says what a cache depends on besides its ids. Nothing here raises: a cache that can't be written or read
    is computed anew, and the log says why.
    """

    def __init__(self, folder: Path, binding: str, limit: int = MOST_BYTES) -> None:
        self._folder, self._binding, self._limit = folder, hashlib.sha256(binding.encode()).hexdigest(), limit
        remove_unfinished([folder])
        self._kept = list(self._found())

    def longest(self, prompt: Sequence[int]) -> int:
        """The number of a prompt's first tokens that a file holds, but for its last one."""
        return max((self._common(kept, prompt) for kept in self._kept), default=0)

    def load(self, prompt: Sequence[int], make_cache: Callable[[], Cache]) -> CachedPrefix | None:
        """Read the cache that holds most of a prompt; None without one that can be used."""
        while self._kept:
            kept = max(self._kept, key=lambda one: self._common(one, prompt))
            if self._common(kept, prompt) < LEAST_TOKENS:
                return None
            try:
                cache = _read(kept, make_cache())
            except UNSOUND as error:
                log.info("A kept cache can't be used: %s", error)
                self._remove(kept)
                continue
            with suppress(OSError):
                os.utime(kept.path)  # it was used now
            return CachedPrefix(kept.tokens, cache, int(kept.header["prefilled"]))
        return None

    def save(self, kept: CachedPrefix) -> None:
        """Write a cache, unless there is a file of it; one of a beginning of it, which it replaces, is removed."""
        tokens = kept.tokens
        size = kept.cache.nbytes
        if len(tokens) < LEAST_TOKENS or size > self._limit or len(tokens) != kept.cache.offset:
            return
        path = self._folder / f"{self._name_of(tokens)}{ENDING}"
        if any(one.path == path for one in self._kept):
            return
        try:
            self._make_room(size)
            header = _write(path, self._binding, kept)
        except OSError as error:
            log.info("A cache can't be kept: %s", error)
            return
        for old in [one for one in self._kept if one.tokens == tokens[: len(one.tokens)] and not _rolls(kept.cache)]:
            self._remove(old)
        self._kept.append(_Kept(path, tokens, header))

    def clear(self) -> None:
        """Remove all files of this model."""
        for kept in list(self._kept):
            self._remove(kept)

    def _name_of(self, tokens: Sequence[int]) -> str:
        ids = np.array(tokens, np.int32).tobytes()
        return hashlib.sha256(self._binding.encode() + ids).hexdigest()[:40]

    def _common(self, kept: _Kept, prompt: Sequence[int]) -> int:
        """The tokens of a prompt that a file would save; of a cache that rolled, all of its tokens or none."""
        common = 0
        for one, other in zip(kept.tokens, prompt[:-1], strict=False):
            if one != other:
                break
            common += 1
        is_whole = common == len(kept.tokens)
        return common if is_whole or not kept.header.get("rolled") else 0

    def _found(self) -> Iterator[_Kept]:
        """The files in the folder that are of this model; what isn't a cache is removed."""
        for path, state in _files_in(self._folder):
            try:
                if time.time() - state.st_mtime > MOST_SECONDS:
                    path.unlink()
                    continue
                header, tokens = _read_header(path)
            except UNSOUND as error:
                log.info("%s isn't a cache, and is removed: %s", path.name, error)
                with suppress(OSError):
                    path.unlink()
                continue
            if header["binding"] == self._binding:
                yield _Kept(path, tokens, header)

    def _make_room(self, size: int) -> None:
        """Remove the files that were used longest ago, of any model, until there is room for one of this size."""
        files = _files_in(self._folder)
        total = sum(state.st_size for _, state in files)
        for path, state in sorted(files, key=lambda file: file[1].st_mtime):
            if total + size <= self._limit:
                return
            path.unlink(missing_ok=True)
            self._kept = [kept for kept in self._kept if kept.path != path]
            total -= state.st_size

    def _remove(self, kept: _Kept) -> None:
        self._kept.remove(kept)
        with suppress(OSError):
            kept.path.unlink()


def _files_in(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The files of caches in a folder, of whichever model; other processes may remove some meanwhile."""
    files = []
    with suppress(OSError):
        for path in sorted(folder.glob(f"*{ENDING}")):
            with suppress(OSError):
                state = path.lstat()
                if stat.S_ISREG(state.st_mode):
                    files.append((path, state))
    return files


def _rolls(cache: Cache) -> bool:
    """True if a cache has overwritten some of its tokens, so that it can't serve a shorter prompt."""
    return any(layer.window is not None and layer.offset > layer.window for layer in cache)


def _buffers(cache: Cache) -> Iterator[np.ndarray]:
    """The keys and values of each layer, as far as they are filled."""
    for layer in cache:
        filled = layer.offset if layer.window is None else min(layer.offset, layer.window)
        for buffer in layer.state:
            plain = buffer[..., :filled, :]
            if buffer.dtype == mx.bfloat16:
                plain = plain.view(mx.uint16)
            yield np.ascontiguousarray(np.array(plain, copy=False))


def _write(path: Path, binding: str, kept: CachedPrefix) -> dict[str, Any]:
    """Write a file, and return its header."""
    ids = np.array(kept.tokens, np.int32)
    arrays = list(_buffers(kept.cache))
    dtype = str(kept.cache.state[0].dtype).removeprefix("mlx.core.")
    header: dict[str, Any] = {
        "binding": binding,
        "tokens": len(ids),
        "prefilled": kept.prefilled,
        "dtype": dtype,
        "shapes": [list(array.shape) for array in arrays],
        "windows": [layer.window for layer in kept.cache],
        "rolled": _rolls(kept.cache),
    }
    header["digest"] = _digest(header, [ids, *arrays])
    head = json.dumps(header).encode()
    with open_atomic(path, sync=False) as file:
        file.write(MAGIC + len(head).to_bytes(8, "little") + head + ids.tobytes())
        for array in arrays:
            file.write(array.data.cast("B"))
    return header


def _digest(header: Mapping[str, Any], parts: Sequence[np.ndarray]) -> str:
    """The checksum of a file's header and of what follows it."""
    plain = {key: value for key, value in header.items() if key != "digest"}
    digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=32)
    for part in parts:
        digest.update(part.data.cast("B"))
    return digest.hexdigest()


def _read_header(path: Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Read a file's header and its ids. Raises ValueError, KeyError or TypeError where they aren't sound."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it doesn't begin as one")
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(file.read(length))
        if not isinstance(header, dict) or not isinstance(header["binding"], str):
            raise ValueError("its header isn't one")
        count = int(header["tokens"])
        if not 0 < count <= path.stat().st_size // 4:
            raise ValueError("it is cut off")
        ids = np.frombuffer(file.read(4 * count), np.int32)
    if len(ids) != count:
        raise ValueError("it is cut off")
    return header, tuple(int(one) for one in ids)


def _read(kept: _Kept, cache: Cache) -> Cache:
    """Read a file into an empty cache of its model. Raises ValueError where it isn't what it says, or not for it."""
    header = kept.header
    shapes = [tuple(int(size) for size in shape) for shape in header["shapes"]]
    dtype = DTYPES[header["dtype"]]
    is_alike = all(layer.quantized == (dtype == mx.int16) for layer in cache)
    if [layer.window for layer in cache] != header["windows"] or len(shapes) != 2 * len(cache) or not is_alike:
        raise ValueError("it is of another model")
    plain = np.dtype(np.uint16 if dtype == mx.bfloat16 else header["dtype"])
    sizes = [int(np.prod(shape)) * plain.itemsize for shape in shapes]
    mapped = np.memmap(kept.path, np.uint8, "r")
    begin = len(mapped) - sum(sizes) - 4 * len(kept.tokens)
    if begin < len(MAGIC) + 8 or min(sizes, default=0) <= 0:
        raise ValueError("it is cut off")
    if _digest(header, [mapped[begin:]]) != header["digest"]:
        raise ValueError("its checksum is wrong")
    at, arrays = begin + 4 * len(kept.tokens), list[mx.array]()
    for shape, size in zip(shapes, sizes, strict=True):
        array = mx.array(mapped[at : at + size].view(plain).reshape(shape))
        arrays.append(array.view(dtype) if dtype == mx.bfloat16 else array)
        at += size
    for number, layer in enumerate(cache):
        keys, values = arrays[2 * number], arrays[2 * number + 1]
        assert isinstance(layer, KVCache | RollingCache)  # noqa: S101 - there are no others
        layer.restore(keys, values, len(kept.tokens))
    mx.eval(cache.state)
    return cache


def files_of(folder: CacheFolder | None, model: Path) -> CacheFiles | None:
    """The files for a model's caches; None where none are wanted."""
    return CacheFiles(folder.path, binding_of(model), folder.limit) if folder and folder.limit > 0 else None


def remove_caches(folder: Path) -> None:
    """Remove all files of caches in a folder, of whichever model."""
    for path, _ in _files_in(folder):
        with suppress(OSError):
            path.unlink()


def binding_of(path: Path) -> str:
    """What a model's caches depend on besides their ids: its files, and the versions of what computes them."""
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    numba = [found.version for found in distributions(name="numba")]  # where there is a Linux to compile for
    sources = digest_of_sources(Path(__file__).parent)  # another version may compute other last digits
    versions = [sources, version("mlx"), *numba, platform.machine(), platform.processor()]
    return json.dumps([str(path.resolve()), stats, versions, str(mx.default_device())])
