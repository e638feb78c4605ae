"""Which files of a repository make up a model, and whether they arrived as the repository has them."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from menny.errors import ModelError
from menny.model_files import CONFIG_FILES, MAX_INDEX_BYTES, choose_weights, parse_index

BESIDES = re.compile(
    r".+\.json|.+\.jinja|.*\.model(\.v\d+(m\d+)?)?|vocab\.txt|merges\.txt|LICEN[SC]E(\.\w+)?|SYSTEM_PROMPT\.txt"
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


def chosen(files: Mapping[str, RemoteFile], read_index: Callable[[str], Path]) -> list[RemoteFile]:
    """Return the files that a model needs, the small ones first; `read_index` fetches a file that names the weights.

    Raises ModelError where there is no model among them, or an index that names what isn't there.
    """
    known = {name: file for name, file in files.items() if is_safe(name)}
    weights = _weights(known, read_index)
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
    ggufs = sorted(name for name in known if name.endswith(".gguf"))
    if not weights.names and len(ggufs) > 1:
        raise ModelError(f"It holds {len(ggufs)} .gguf files: get one of them by hand, such as {ggufs[0]}.")
    if not weights.names and not ggufs:
        raise ModelError("It holds no weights that Menny reads: safetensors, npz, pth or GGUF.")
    return weights.names or tuple(ggufs)


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
