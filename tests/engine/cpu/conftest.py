"""Kernels for this processor: of the processes that run tests side by side, the first to come compiles them for all."""

# ruff: isort: off
import menny.engine  # noqa: F401 - before anything that imports MLX: OpenBLAS goes under it

# ruff: isort: on
import os
from pathlib import Path

from menny.engine.cpu.kernels import must_compile, packed_mistral
from menny.files import lock_folder, make_folder

KEPT = Path(os.environ["NUMBA_CACHE_DIR"])

if must_compile():
    make_folder(KEPT)
    with lock_folder(KEPT):
        packed_mistral()
