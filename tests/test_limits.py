"""The tests themselves: they pass as a background job, where SIGINT is ignored, and one that hangs is ended."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

IMPORTS = """
import signal, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import pytest
"""
HANGS = {
    "waiting for an event": "threading.Event().wait()",
    "in a loop of its own": "while True: pass",
    "waiting for a thread": "ThreadPoolExecutor().submit(time.sleep, 3).result()",
    "waiting for a process": "subprocess.run(['sleep', '99'])",
}
CTRL_C = """
def test_here():
    with pytest.raises(KeyboardInterrupt):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(99)

def test_in_a_process_of_its_own():
    program = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    ended = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert b"KeyboardInterrupt" in ended.stderr
"""

Ended = subprocess.CompletedProcess[str]


def run_tests(folder: Path, source: str, *options: str, ignore_sigint: bool = False) -> Ended:
    """Run tests of this source in a folder of their own, with the project's configuration."""
    (folder / "conftest.py").write_text((PROJECT / "tests/conftest.py").read_text(encoding="utf-8"))
    (folder / "test_it.py").write_text(IMPORTS + source)
    shell = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"] if ignore_sigint else []
    command = [*shell, sys.executable, "-m", "pytest", "-c", str(PROJECT / "pyproject.toml"), *options, "test_it.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("how", HANGS)
def test_a_test_that_hangs_fails_with_its_stack_and_the_others_go_on(tmp_path: Path, how: str) -> None:
    ended = run_tests(tmp_path, f"def test_hangs():\n    {HANGS[how]}\n\ndef test_passes(): pass", "--timeout=1")
    assert "1 failed, 1 passed" in ended.stdout
    assert "Timeout (>1.0s)" in ended.stdout
    assert HANGS[how] in ended.stdout


@pytest.mark.slow
def test_a_test_that_hangs_where_no_signal_is_seen_ends_the_run_with_its_stack(tmp_path: Path) -> None:
    source = "def test_hangs():\n    sum(range(10**12))"
    ended = run_tests(tmp_path, source, "--timeout=1", "-o", "faulthandler_timeout=2")
    assert ended.returncode != 0
    assert "in test_hangs" in ended.stderr


def test_every_test_has_a_limit(request: pytest.FixtureRequest) -> None:
    assert 60 <= float(request.config.getini("timeout")) <= 600


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--numprocesses", "1")])
def test_a_background_job_that_ignores_sigint_runs_tests_of_ctrl_c(tmp_path: Path, options: tuple[str, ...]) -> None:
    ended = run_tests(tmp_path, CTRL_C, *options, ignore_sigint=True)
    assert "2 passed" in ended.stdout, ended.stdout
