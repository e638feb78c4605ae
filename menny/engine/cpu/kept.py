"""What is compiled for this processor, kept from start to start in a folder that the environment names.

Numba trusts what it finds. So what was kept is used with these very sources only, while every file is as it was; and by
way of a copy, so that processes don't write over each other's.
"""

import atexit
import hashlib
import importlib.metadata
import logging
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

FOLDER = "NUMBA_CACHE_DIR"  # the environment's name for it; where it isn't set, nothing is kept
_SEAL = "seal"
_DAY = 86_400
_ABANDONED = {"new": _DAY, "ready": _DAY, "old": _DAY, "menny": 30 * _DAY}  # seconds, by how a folder's name begins


@cache
def working_copy() -> Path | None:
    """A folder of this process, with what was kept; None where nothing can be kept."""
    if not os.environ.get(FOLDER):
        return None
    kept = _kept()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(kept)
        copy = Path(tempfile.mkdtemp(prefix=f"new-{os.getpid()}-", dir=kept.parent))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        if _is_sealed(kept):
            shutil.copytree(kept, copy, dirs_exist_ok=True)
            os.utime(kept)  # it was used now
    except OSError as error:
        log.info("What is compiled for this processor can't be kept, so every start compiles it anew. %s", error)
        return None
    return copy


def _remove_abandoned(kept: Path) -> None:
    """Remove what processes that were killed have left beside it, and what nobody has used for a month."""
    for folder in kept.parent.iterdir():
        kind, process, *_ = (*folder.name.split("-"), "")
        if folder == kept or kind not in _ABANDONED or (process.isdecimal() and psutil.pid_exists(int(process))):
            continue
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _ABANDONED[kind]:
                shutil.rmtree(folder, ignore_errors=True)


def keep() -> None:
    """Keep what was compiled until now for later starts."""
    new = working_copy()
    if new is None:
        return
    kept = _kept()
    try:
        digest = _digest(new)
        if _is_sealed(kept) and _seal(kept) == digest:
            return
        ready, old = (Path(tempfile.mkdtemp(prefix=f"{name}-", dir=kept.parent)) for name in ("ready", "old"))
        shutil.copytree(new, ready, dirs_exist_ok=True)
        (ready / _SEAL).write_text(digest, encoding="ascii")
        with suppress(OSError):
            kept.rename(old / "kept")
        ready.rename(kept)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        log.info("What is compiled for this processor can't be kept. %s", error)


def has_kept() -> bool:
    """Whether an earlier process has kept what it compiled."""
    return bool(os.environ.get(FOLDER)) and _is_sealed(_kept())


def _kept() -> Path:
    return Path(os.path.expanduser(os.environ[FOLDER])) / f"menny-{_sources()}"


def _is_sealed(folder: Path) -> bool:
    """Whether a folder is as it was when it was kept."""
    return (folder / _SEAL).is_file() and _seal(folder) == _digest(folder)


def _seal(folder: Path) -> str:
    return (folder / _SEAL).read_text(encoding="ascii", errors="replace")


def _digest(folder: Path) -> str:
    """All files of a folder but the seal: names and content."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _SEAL:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _sources() -> str:
    """These sources, and what compiles them: Numba looks at the file of one function only."""
    compiled_by = f"{sys.version} {importlib.metadata.version('numba')} {digest_of_sources(Path(__file__).parent)}"
    return hashlib.blake2b(compiled_by.encode(), digest_size=8).hexdigest()


def digest_of_sources(folder: Path) -> str:
    """A digest of the Python files in a folder, and in those below it."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
