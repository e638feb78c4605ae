"""Kernels are compiled once, kept, and done without where they can't be had."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from menny.engine.cpu.kept import _kept, working_copy
from menny.engine.cpu.kernels import packed_mistral
from tests.engine.cpu.new_process import in_a_new_process

if packed_mistral() is None:
    pytest.skip("there are no kernels here", allow_module_level=True)

SCRIPT = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s", level=logging.INFO)
import menny.engine
assert "numba" not in sys.modules
from menny.engine import must_compile
from menny.engine.cpu.kernels import packed_mistral
before = must_compile()
print(before, packed_mistral() and packed_mistral().__name__, must_compile())
"""

WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None" + SCRIPT.replace('assert "numba" not in sys.modules', "")


def test_without_numba_mlx_multiplies_and_one_line_says_so() -> None:
    told = in_a_new_process(WITHOUT_NUMBA)
    assert told.endswith("None False")
    assert told.count("pip install numba") == 1


@pytest.mark.slow
def test_what_was_compiled_is_kept_and_compiled_anew_where_it_was_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    shutil.copytree(_kept(), folder / _kept().name)  # by this process, or one before it
    assert in_a_new_process(SCRIPT, NUMBA_CACHE_DIR=str(folder)) == "False PackedMistral False"
    (kept,) = folder.iterdir()  # and nothing of the processes that have ended
    for path in kept.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:-9])
    assert in_a_new_process(SCRIPT, NUMBA_CACHE_DIR=str(folder)) == "True PackedMistral False"
    assert in_a_new_process(SCRIPT, NUMBA_CACHE_DIR=str(folder)) == "False PackedMistral False"


@pytest.mark.slow
def test_a_folder_that_cant_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = in_a_new_process(SCRIPT, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"), NUMBA_OPT="0")  # sooner done
    assert told.endswith("True PackedMistral False")
    assert "can't be kept" in told


def test_what_killed_processes_left_is_removed_and_what_others_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    day, now = 86_400, time.time()
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    ages = {
        "new-abc": 2 * day,  # of an earlier version, without a process
        f"new-{killed.pid}-abc": 2 * day,
        "ready-abc": 2 * day,
        "menny-0123": 31 * day,
        "new-def": day / 2,
        f"new-{os.getpid()}-abc": 2 * day,
        "menny-4567": 29 * day,
        _kept().name: 31 * day,
        "another": 99 * day,
    }
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (now - age, now - age))
    copy = working_copy.__wrapped__()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*list(ages)[4:], copy.name])
    assert copy.name.startswith(f"new-{os.getpid()}-")
