"""A fast BLAS under MLX on Linux: OpenBLAS is loaded before MLX, whose wheel carries the 15x slower reference BLAS.

MLX's shared library looks `cblas_sgemm` up in the process's global scope first, so an OpenBLAS that is already there
with `RTLD_GLOBAL` takes the place of the one that MLX brought. Nothing of MLX is changed.
On macOS MLX uses Accelerate and Metal, and there is nothing to do.
"""

import ctypes
import ctypes.util
import importlib.metadata
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_GFORTRAN = b"libgfortran.so.5"


def preload() -> str | None:
    """Load OpenBLAS into the global scope; to be called before MLX is imported.

    Returns the library's own description (version, processor kernels, threads), or None where MLX stays with the BLAS
    that it brought: on macOS, or where no OpenBLAS could be loaded (then a warning says so). A second call changes
    nothing.
    """
    if sys.platform != "linux":
        return None
    if "mlx.core" in sys.modules and not hasattr(ctypes.CDLL(None), "openblas_get_config"):
        log.warning(
            "MLX was imported before menny.engine, so it keeps its slow reference BLAS (about 15x slower on a CPU). "
            "Import menny.engine first."
        )
    failures: list[str] = []
    for library in _candidates():
        try:
            return _put_into_scope(library)
        except (OSError, AttributeError) as error:  # not to be loaded, or not what its name tells
            failures.append(str(error))
    log.warning(
        "No OpenBLAS could be loaded, so MLX computes with its slow reference BLAS (about 15x slower on a CPU). "
        "Install Debian's libopenblas0 or the package ngsolve-openblas. %s",
        "; ".join(failures),
    )
    return None


def _candidates() -> Iterator[str]:
    """The wheel's OpenBLAS, which picks its kernels by processor; then the system's."""
    folder = _package_folder("ngsolve-openblas", "ngsolve_openblas")
    if folder:
        yield from map(str, sorted(folder.glob("libopenblas*.so*")))
    system = ctypes.util.find_library("openblas")
    if system:
        yield system


def _put_into_scope(library: str) -> str:
    """Load an OpenBLAS where MLX looks; returns its description."""
    description = _describe(_load(library))
    ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    return description


def _load(library: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(library)
    except OSError as error:
        if _GFORTRAN.decode() not in str(error):
            raise
    _load_bundled_gfortran()
    return ctypes.CDLL(library)


def _load_bundled_gfortran() -> None:
    """Load the Fortran runtime that MLX's wheel bundles, under the name that OpenBLAS asks for.

    Many machines have no libgfortran.so.5 of their own. The wheel's copy is the same library, but its SONAME carries a
    hash, and the loader matches by SONAME; so a copy in memory, with the plain name written over it, is loaded.
    """
    libs = _package_folder("mlx-cpu", "mlx_cpu.libs")
    found = sorted(libs.glob("libgfortran*.so*")) if libs else []
    if not found or libs is None:
        raise OSError("libgfortran.so.5 is missing (Debian: apt install libgfortran5)")
    for quadmath in libs.glob("libquadmath*.so*"):
        ctypes.CDLL(str(quadmath), ctypes.RTLD_GLOBAL)
    hashed = found[0].name.encode() + b"\0"
    image = found[0].read_bytes().replace(hashed, _GFORTRAN.ljust(len(hashed), b"\0"))
    descriptor = os.memfd_create("libgfortran")
    with os.fdopen(descriptor, "wb") as memory:
        memory.write(image)
        memory.flush()
        ctypes.CDLL(f"/proc/self/fd/{descriptor}", ctypes.RTLD_GLOBAL)


def _package_folder(package: str, folder: str) -> Path | None:
    """A folder that an installed package brought, without importing it."""
    try:
        found = Path(str(importlib.metadata.distribution(package).locate_file(folder)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if found.is_dir() else None


def _describe(library: ctypes.CDLL) -> str:
    library.openblas_get_config.restype = ctypes.c_char_p
    return str(library.openblas_get_config().decode())


def n_threads() -> int:
    """How many threads OpenBLAS uses; as many as there are cores, where it isn't in use."""
    library = ctypes.CDLL(None)  # the process: preload() has put OpenBLAS into its scope
    found = hasattr(library, "openblas_get_num_threads")
    return int(library.openblas_get_num_threads()) if found else os.cpu_count() or 1


def share_cores(n_processes: int) -> None:
    """Leave room for other processes of the same work on this machine; before any model is loaded."""
    library = ctypes.CDLL(None)
    if hasattr(library, "openblas_set_num_threads"):
        library.openblas_set_num_threads(max(1, library.openblas_get_num_threads() // n_processes))
