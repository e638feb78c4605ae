"""Which files of a repository make up a model, and whether they arrived as the repository has them."""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from menny.errors import ModelError
from menny.model_files import CONFIG_FILES, MAX_INDEX_BYTES, choose_weights, gguf_sets, parse_index

BESIDES = re.compile(
    r".+\.json|.+\.jinja|.*\.model(\.v\d+(m\d+)?)?|vocab\.txt|merges\.txt|SYSTEM_PROMPT\.txt|LICEN[SC]E(\.\w+)?"
)
QUANTIZATION = re.compile(
    r"(?<![a-z0-9])(q[2-6]_k(_(xs|s|m|l|xl))?|q[45]_[01]|q8_0|b?f16|f32)(?![a-z0-9])", re.IGNORECASE
)
SAFE = re.compile(r"[\w-][\w .()+-]{0,199}")
MAX_BESIDES_BYTES = 64 << 20  # of one file that isn't weights
BLOCK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its size, and the SHA-256 of its content or the SHA-1 that git gives it."""

    name: str
    size: int
    digest: str


def is_safe(name: str) -> bool:
    """Return true where a name stays within its folder, on any system, and isn't hidden."""
    return bool(SAFE.fullmatch(name)) and ".." not in name and not name.endswith((" ", "."))


def chosen(
    files: Mapping[str, RemoteFile], read_index: Callable[[str], Path], gguf: str | None = None
) -> list[RemoteFile]:
    """Return the files that a model needs, the small ones first; `read_index` fetches a file that names the weights.

    `gguf` names the one to take of several .gguf files, or the first part of a split one. Raises ModelError where there
    is no model among them, or an index that names what isn't there.
    """
    known = {name: file for name, file in files.items() if is_safe(name)}
    weights = _parts(known, gguf) if gguf else _weights(known, read_index)
    besides = [
        file
        for name, file in known.items()
        if BESIDES.fullmatch(name) and name not in weights and file.size <= MAX_BESIDES_BYTES
    ]
    if not any(name.endswith(".gguf") for name in weights) and not known.keys() & set(CONFIG_FILES):
        raise ModelError("It holds weights but no config.json, so it isn't a model that Menny reads.")
    return [*sorted(besides, key=lambda file: file.name), *(known[name] for name in weights)]


def _weights(known: Mapping[str, RemoteFile], read_index: Callable[[str], Path]) -> tuple[str, ...]:
    """Return the weight files of a repository, or its only .gguf file where it has no others."""
    weights = choose_weights(known, lambda name: _listed(known[name], read_index))
    if weights.missing:
        raise ModelError(f"It lacks {weights.lack}, so it holds no whole model: choose another repository.")
    if weights.names:
        return weights.names
    ggufs = gguf_sets(known)
    if len(ggufs) > 1:
        raise ModelError(
            f"It holds {len(ggufs)} .gguf files: search for it on the Models page and choose one there, or name one by "
            f"--file {next(iter(ggufs))}."
        )
    if not ggufs:
        raise ModelError("It holds no weights that Menny reads: safetensors, npz, pth or GGUF.")
    return _parts(known, next(iter(ggufs)))


def _parts(known: Collection[str], gguf: str) -> tuple[str, ...]:
    """Return the files of a .gguf model. Raises ModelError that names a missing one."""
    parts = next((parts for parts in gguf_sets(known).values() if gguf in parts), (gguf,))
    if missing := [name for name in parts if name not in known]:
        raise ModelError(f"It lacks {missing[0]}, so it holds no whole model: choose another file or repository.")
    return parts


@dataclass(frozen=True)
class GGUFChoice:
    """A .gguf model of a repository: its file, or its first part, its quantization, and the bytes of all its files."""

    file: str
    quantization: str
    size: int


def gguf_choices(files: Mapping[str, RemoteFile]) -> list[GGUFChoice]:
    """Return the whole .gguf models in kinds of quantization that Menny reads, the smallest first."""
    known = {name: file for name, file in files.items() if is_safe(name)}
    choices = [
        GGUFChoice(first, kind[0].upper(), sum(known[name].size for name in parts))
        for first, parts in gguf_sets(known).items()
        if (kind := QUANTIZATION.search(first)) and all(name in known for name in parts) and not _is_dynamic(first)
    ]
    return sorted(choices, key=lambda choice: choice.size)


def _is_dynamic(name: str) -> bool:
    """Return True for files that mix kinds of numbers which their name doesn't tell."""
    return bool(re.search(r"(?<![a-z0-9])(ud|i1)(?![a-z0-9])", name, re.IGNORECASE))


def _listed(index: RemoteFile, read_index: Callable[[str], Path]) -> list[str]:
    """Return the weight files that an index of a repository lists."""
    if index.size > MAX_INDEX_BYTES:
        raise ModelError(f"Its {index.name} is too large to be one.")
    try:
        names = parse_index(read_index(index.name).read_bytes())
    except ValueError:
        names = []
    if not names or not all(map(is_safe, names)):
        raise ModelError(f"Its {index.name} names files that a model's folder can't have.")
    return names


def is_intact(path: Path, file: RemoteFile, on_bytes: Callable[[int], None] = lambda _: None) -> bool:
    """Return true where a file has the repository's size and content; `on_bytes` gets the number of bytes read."""
    if path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(b"blob %d\0" % file.size)  # noqa: S324 - git's
    with path.open("rb") as content:
        while piece := content.read(BLOCK):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest() == file.digest
