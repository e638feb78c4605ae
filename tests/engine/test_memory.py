"""What is returned to the system."""

import importlib.util
import re
from pathlib import Path

import pytest

from menny.engine.memory import return_compiler


def resident(library: str) -> int:
    """The kilobytes of a library that are in this process's memory."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    ours = [part for part in parts if library in part.partition("\n")[0]]
    return sum(int(kilobytes) for part in ours for kilobytes in re.findall(r"^Rss: +(\d+)", part, re.MULTILINE))


@pytest.mark.skipif(
    not Path("/proc/self/smaps").is_file() or importlib.util.find_spec("numba") is None, reason="no kernels here"
)
def test_the_compilers_code_is_returned_and_read_again_when_it_is_called() -> None:
    numba = pytest.importorskip("numba")
    assert numba.njit(lambda a: a + 1)(1) == 2
    before = resident("libllvmlite")
    return_compiler()
    assert resident("libllvmlite") < before / 2
    assert numba.njit(lambda a: a + 2)(1) == 3
