"""A fast BLAS under MLX on Linux: OpenBLAS is loaded before MLX, whose wheel carries the 15x slower reference BLAS.

MLX's shared library looks `cblas_sgemm` up in the process's global scope first, so an OpenBLAS that is already there
with `RTLD_GLOBAL` takes the place of the one that MLX brought. Nothing of MLX is changed. Where there is a C compiler
(`cc`; MLX's own `mx.compile` needs one on a CPU too), one_row.c goes before OpenBLAS and makes decoding faster still.
On macOS MLX uses Accelerate and Metal, and there is nothing to do.
"""

import ctypes
import ctypes.util
import importlib.metadata
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_GFORTRAN = b"libgfortran.so.5"
_ONE_ROW = Path(__file__).with_name("one_row.c")
_COMPILER_SECONDS = 30


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
    """Load an OpenBLAS where MLX looks, after what serves products of one row; returns its description."""
    openblas = _load(library)
    description = _describe(openblas)
    if not hasattr(ctypes.CDLL(None), "openblas_get_config"):  # else the order of the scope is settled
        _put_one_row_into_scope(openblas)
    ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    return description


def _put_one_row_into_scope(openblas: ctypes.CDLL) -> None:
    """Compile one_row.c and load it; without a compiler, or where what it made can't be loaded, all goes on without."""
    compiler = shutil.which("cc")
    if compiler is None:
        log.info("There is no C compiler (cc), so decoding on this CPU is slower than it could be.")
        return
    with tempfile.TemporaryDirectory(prefix="menny-") as folder:
        made = str(Path(folder, "one_row.so"))
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", made, str(_ONE_ROW)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_COMPILER_SECONDS)  # noqa: S603 - our own
            one_row = ctypes.CDLL(made)
            for name in ("sgemm", "sgemv"):
                pointer = ctypes.c_void_p.in_dll(one_row, f"menny_{name}")
                pointer.value = ctypes.cast(getattr(openblas, f"cblas_{name}"), ctypes.c_void_p).value
            ctypes.CDLL(made, ctypes.RTLD_GLOBAL)
        except (OSError, AttributeError, ValueError, subprocess.SubprocessError) as error:
            log.info("Decoding on this CPU is slower than it could be: one_row.c was not put to use. %s", error)


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


@contextmanager
def openblas_alone() -> Iterator[None]:
    """OpenBLAS as any program would have it, without one_row.c, to measure others under the same BLAS."""
    try:
        switch = ctypes.c_int.in_dll(ctypes.CDLL(None), "menny_one_row")
    except ValueError:  # it is not in use
        yield
        return
    switch.value = 0
    try:
        yield
    finally:
        switch.value = 1


def share_cores(n_processes: int) -> None:
    """Leave room for other processes of the same work on this machine; before any `Threads` is made."""
    library = ctypes.CDLL(None)
    if hasattr(library, "openblas_set_num_threads"):
        library.openblas_set_num_threads(max(1, library.openblas_get_num_threads() // n_processes))


class Threads:
    """How many threads OpenBLAS uses for a decoding step: all while that pays, one while others need the cores.

    A decoding step is some hundred small products, and after each all threads wait for the slowest. Where another
    program holds a core, as a browser on a small machine does, that wait makes all threads many times slower than one.
    So after a slow step the next ones are done by one thread, and later all are tried again, ever more rarely.
    """

    SLOW = 1.8  # times the usual step
    TRIAL = 4  # first steps, done by one thread to know what it takes
    FIRST_PAUSE, LAST_PAUSE = 32, 1024  # steps done by one thread before all are tried again

    def __init__(self) -> None:
        library = ctypes.CDLL(None)  # the process: preload() has put OpenBLAS into its scope
        self._set = getattr(library, "openblas_set_num_threads", None)
        self._get = getattr(library, "openblas_get_num_threads", None)
        self._all = library.openblas_get_num_threads() if self._set else 1
        self._usual: float | None = None  # seconds of a step
        self._pause = self.FIRST_PAUSE
        self._left = 0  # steps still to be done by one thread

    @property
    def is_alone(self) -> bool:
        """Whether one thread is used, though there are more."""
        return self._all > 1 and self._get is not None and self._get() == 1

    def follow(self, is_alone: bool) -> None:
        """Do as another process does."""
        if self._set:
            self._set(1 if is_alone else self._all)

    def begin(self, *, steady: bool = False) -> None:
        """Decoding begins: go on as the last reply ended.

        A `steady` reply isn't observed: it keeps its threads to the end, and leaves a core to whoever needs one.
        """
        if self._set and steady:
            self._set(max(1, self._all - 1))
        elif self._set and self._left:
            self._set(1)

    def end(self) -> None:
        """Decoding is over: all threads again, which any prefill gains from, and which another engine counts."""
        if self._set:
            self._set(self._all)

    def observe(self, seconds: float) -> None:
        """Take in what a step took, and choose the threads of the next."""
        if self._set is None or self._all == 1:
            return
        if self._left:
            self._left -= 1
            if self._left == 0:
                self._usual = seconds  # by one thread: all should not take longer
                self._set(self._all)
        elif self._usual is None:
            self._go_alone(self.TRIAL)
        elif seconds > self.SLOW * self._usual:
            self._go_alone(self._pause)
            self._pause = min(2 * self._pause, self.LAST_PAUSE)
        else:
            self._usual = min(1.02 * self._usual, seconds)
            self._pause = max(self.FIRST_PAUSE, self._pause - 1)

    def _go_alone(self, steps: int) -> None:
        self._left = steps
        if self._set:
            self._set(1)
