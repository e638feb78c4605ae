"""OpenBLAS goes under MLX where it can, and where it can't, the engine says so and goes on."""

import ctypes
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from menny.config.paths import PROJECT
from menny.engine.cpu import blas

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings a fast BLAS of its own")
WITH_WHEEL = pytest.mark.skipif(
    blas._package_folder("ngsolve-openblas", "ngsolve_openblas") is None,
    reason="the wheel with OpenBLAS is for x86 Linux only",
)

PRODUCT = """
import menny.engine
import mlx.core as mx
import numpy as np

draw = np.random.default_rng(0).standard_normal
left, right = draw((65, 130)).astype(np.float32), draw((130, 33)).astype(np.float32)
assert np.abs(np.array(mx.array(left) @ mx.array(right)) - left @ right).max() < 1e-4
mapped = open("/proc/self/maps").read()
print("openblas" in mapped, "libmlx" in mapped)
"""


def in_a_new_process(script: str, **environment: str) -> str:
    root = PROJECT
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@ON_LINUX
@WITH_WHEEL
def test_importing_the_engine_puts_openblas_under_mlx_and_products_are_right():
    assert in_a_new_process(PRODUCT) == "True True"


@ON_LINUX
@WITH_WHEEL
def test_the_symbol_that_mlx_looks_up_is_openblass():
    where = "import menny.engine, ctypes; print(hasattr(ctypes.CDLL(None), 'openblas_get_config'))"
    assert in_a_new_process(where) == "True"


ONE_ROW = """
import ctypes
import menny.engine
import mlx.core as mx
import numpy as np

draw = np.random.default_rng(0).standard_normal
for k, n in ((130, 33), (576, 1536), (1, 1), (1, 7), (2048, 3)):
    row, matrix = draw((1, k)).astype(np.float32), draw((k, n)).astype(np.float32)
    expected = row.astype(np.float64) @ matrix
    x, w = mx.array(row), mx.array(matrix)
    turned = mx.contiguous(w.T).T  # the layout of a linear layer's weights
    column = mx.contiguous(mx.concatenate([x.T, x.T], axis=1))[:, :1].T  # a row whose numbers lie apart
    for product in (x @ w, x @ turned, column @ w, column @ turned, mx.addmm(mx.ones((1, n)), x, turned) - 1):
        assert np.abs(np.array(product) - expected).max() < 1e-3, (k, n)
    batch = mx.stack([x, 2 * x]) @ mx.stack([turned, turned])
    assert np.abs(np.array(batch[1]) - 2 * expected).max() < 1e-3
print(hasattr(ctypes.CDLL(None), "menny_sgemv"))
"""

ALONE = """
from menny.engine.cpu.blas import openblas_alone
import ctypes
import mlx.core as mx

process = ctypes.CDLL(None)
served = []
kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int] * 4, ctypes.c_float, *[ctypes.c_void_p, ctypes.c_int] * 2, ctypes.c_float,
                        ctypes.c_void_p, ctypes.c_int)
listener = kind(lambda *_: served.append(1))
ctypes.c_void_p.in_dll(process, "menny_sgemv").value = ctypes.cast(listener, ctypes.c_void_p).value

def multiply():
    mx.eval(mx.ones((1, 64)) @ mx.ones((64, 64)))
    return len(served)

before = multiply()
with openblas_alone():
    during = multiply()
print(before, during, multiply())
"""


@ON_LINUX
@WITH_WHEEL
def test_products_of_one_row_are_right_by_way_of_sgemv():
    assert in_a_new_process(ONE_ROW) == str(shutil.which("cc") is not None)


@ON_LINUX
@WITH_WHEEL
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_one_row_goes_to_sgemv_unless_openblas_is_to_be_measured_alone():
    assert in_a_new_process(ALONE) == "1 1 2"


@ON_LINUX
@WITH_WHEEL
@pytest.mark.parametrize("compiler", ["", "exit 1", "exit 0", 'echo nonsense > "$5"'])
def test_without_a_compiler_that_works_products_are_right_all_the_same(tmp_path: Path, compiler: str):
    if compiler:
        fake = tmp_path / "cc"
        fake.write_text(f"#!/bin/sh\n{compiler}\n")
        fake.chmod(0o755)
    assert in_a_new_process(ONE_ROW, PATH=str(tmp_path)) == "False"


@ON_LINUX
@WITH_WHEEL
def test_a_program_that_imports_mlx_too_early_is_told_that_it_will_be_slow():
    heard = "import logging, sys; logging.basicConfig(stream=sys.stdout); "
    assert "Import menny.engine first" in in_a_new_process(heard + "import mlx.core; import menny.engine")
    assert in_a_new_process(heard + "import menny.engine; import mlx.core; menny.engine.preload()") == ""


@ON_LINUX
@WITH_WHEEL
def test_preloading_tells_which_library_it_is_and_can_be_repeated():
    first, second = blas.preload(), blas.preload()
    assert first == second
    assert str(first).startswith("OpenBLAS")


@ON_LINUX
@pytest.mark.parametrize("candidates", [[], ["/nowhere/libopenblas.so"], [__file__], ["libm.so.6"]])
def test_without_openblas_a_warning_says_what_to_install_and_nothing_fails(monkeypatch, caplog, candidates):
    monkeypatch.setattr(blas, "_candidates", lambda: iter(candidates))
    with caplog.at_level(logging.WARNING):
        assert blas.preload() is None
    assert "No OpenBLAS could be loaded" in caplog.text
    assert "Install" in caplog.text


@ON_LINUX
def test_the_next_candidate_is_taken_where_one_cant_be_loaded(monkeypatch, caplog):
    good = list(blas._candidates())
    if not good:
        pytest.skip("no OpenBLAS here")
    monkeypatch.setattr(blas, "_candidates", lambda: iter(["/nowhere/libopenblas.so", *good]))
    assert blas.preload() is not None
    assert caplog.text == ""


def test_elsewhere_than_on_linux_nothing_is_loaded(monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", never)
    assert blas.preload() is None


def test_a_package_that_isnt_installed_has_no_folder():
    assert blas._package_folder("no-such-package-of-ours", "x") is None
    assert blas._package_folder("mlx", "no-such-folder") is None
