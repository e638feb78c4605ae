"""Which files of a repository make up a model, and whether they arrived as the repository has them."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from menny.errors import ModelError

INDICES = ("model.safetensors.index.json", "consolidated.safetensors.index.json")
WEIGHTS = (  # the first that a repository has any file of
    re.compile(r"model.*\.safetensors"),
    re.compile(r"weights.*\.safetensors"),
    re.compile(r"weights.*\.npz"),
    re.compile(r"consolidated.*\.safetensors"),
    re.compile(r"consolidated.*\.pth"),
    re.compile(r".+\.gguf"),
)
BESIDES = re.compile(r".+\.json|.+\.jinja|.*\.model(\.v\d+(m\d+)?)?|vocab\.txt|merges\.txt|LICEN[SC]E(\.\w+)?")
SAFE = re.compile(r"[\w-][\w .()+-]{0,199}")
MAX_INDEX_BYTES = 16 << 20
MAX_BESIDES_BYTES = 64 << 20  # of one file that isn't weights
BLOCK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its size, and the SHA-256 of its content or the SHA-1 that git gives it."""

    name: str
    size: int
    digest: str


def is_safe(name: str) -> bool:
    """Whether a name stays within its folder, on any system, and isn't hidden."""
    return bool(SAFE.fullmatch(name)) and ".." not in name and not name.endswith((" ", "."))


def chosen(files: Mapping[str, RemoteFile], read_index: Callable[[str], Path]) -> list[RemoteFile]:
    """What a model needs of these files, the small ones first; `read_index` fetches a file that names the weights.

    Raises ModelError where there is no model among them, or an index that names what isn't there.
    """
    known = {name: file for name, file in files.items() if is_safe(name)}
    weights = _indexed(known, read_index) or _matching(known)
    if not weights:
        raise ModelError("It holds no weights that Menny reads: safetensors, npz, pth or GGUF.")
    besides = [
        file
        for name, file in known.items()
        if BESIDES.fullmatch(name) and name not in weights and file.size <= MAX_BESIDES_BYTES
    ]
    if not any(name.endswith(".gguf") for name in weights) and not {"config.json", "params.json"} & known.keys():
        raise ModelError("It holds weights but no config.json, so it is no model that Menny reads.")
    return [*sorted(besides, key=lambda file: file.name), *(known[name] for name in weights)]


def _indexed(known: Mapping[str, RemoteFile], read_index: Callable[[str], Path]) -> list[str]:
    for index in INDICES:
        if index in known:
            if known[index].size > MAX_INDEX_BYTES:
                raise ModelError(f"Its {index} is too large to be one.")
            return _named(read_index(index), known)
    return []


def _named(index: Path, known: Mapping[str, RemoteFile]) -> list[str]:
    """The weight files that an index names, all of which the repository has."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        fitting = bool(names) and all(isinstance(name, str) and is_safe(name) for name in names)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        fitting = False
    if not fitting:
        raise ModelError(f"Its {index.name} names files that a model's folder can't have.")
    if missing := [name for name in names if name not in known]:
        raise ModelError(f"Its {index.name} names {missing[0]!r}, which it doesn't have.")
    return names


def _matching(known: Mapping[str, RemoteFile]) -> list[str]:
    for pattern in WEIGHTS:
        found = sorted(name for name in known if pattern.fullmatch(name))
        if len(found) > 1 and found[0].endswith(".gguf"):
            raise ModelError(f"It holds {len(found)} .gguf files: get one of them by hand, such as {found[0]}.")
        if found:
            return found
    return []


def is_intact(path: Path, file: RemoteFile, on_bytes: Callable[[int], None] = lambda _: None) -> bool:
    """Whether a file has the size and the content that the repository tells; it is told how many bytes were read."""
    if path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(b"blob %d\0" % file.size)  # noqa: S324 - git's
    with path.open("rb") as content:
        while piece := content.read(BLOCK):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest() == file.digest
