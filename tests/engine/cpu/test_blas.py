"""OpenBLAS goes under MLX where it can, and where it can't, the engine says so and goes on."""

import ctypes
import logging
import sys

import pytest

from menny.engine.cpu import blas
from tests.engine.cpu.new_process import in_a_new_process

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


@ON_LINUX
@WITH_WHEEL
def test_importing_the_engine_puts_openblas_under_mlx_and_products_are_right():
    assert in_a_new_process(PRODUCT) == "True True"


@ON_LINUX
@WITH_WHEEL
def test_the_symbol_that_mlx_looks_up_is_openblass():
    where = "import menny.engine, ctypes; print(hasattr(ctypes.CDLL(None), 'openblas_get_config'))"
    assert in_a_new_process(where) == "True"


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
