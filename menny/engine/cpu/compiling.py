"""How Numba compiles: the decorator of all kernels, and the folder where it keeps what it compiled.

Numba trusts what it finds there. So what was kept is used for these very sources only, while every file is as it was; and by
way of a copy, so that processes don't write over each other's.
"""

import atexit
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba

log = logging.getLogger(__name__)

FOLDER = "NUMBA_CACHE_DIR"  # the environment's name for it; where it isn't set, nothing is kept
MATHS = {"contract", "reassoc", "nsz", "arcp"}  # that may be reordered; NaN and infinity stay what they are
_SEAL = "seal"

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function of numbers and arrays when it is first called; other threads run meanwhile."""
    return numba.njit(nogil=True, cache=is_kept())(function)  # type: ignore[no-any-return]


def maths(function: Function) -> Function:
    """Compile a kernel whose sums may be reordered, and whose divisions by zero are infinite."""
    return numba.njit(nogil=True, fastmath=MATHS, error_model="numpy", cache=is_kept())(function)  # type: ignore[no-any-return]


@cache
def is_kept() -> bool:
    """Whether what is compiled is kept; by this, Numba learns where."""
    if not os.environ.get(FOLDER):
        return False
    kept = _kept()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = tempfile.mkdtemp(prefix="new-", dir=kept.parent)
    except OSError as error:
        log.info("What is compiled for this processor can't be kept, so every start compiles it anew. %s", error)
        return False
    atexit.register(shutil.rmtree, new, ignore_errors=True)
    if _is_sealed(kept):
        shutil.copytree(kept, new, dirs_exist_ok=True)
    numba.config.CACHE_DIR = new
    return True


def keep() -> None:
    """Keep what was compiled until now for later starts."""
    if not is_kept():
        return
    kept, new = _kept(), Path(numba.config.CACHE_DIR)
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
    digest = hashlib.blake2b(f"{sys.version} {numba.__version__}".encode(), digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
