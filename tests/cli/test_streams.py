"""The command line where what it reads from and writes to is closed, full, or of another encoding."""

import os
import subprocess
import sys

import pytest

from menny.config.paths import PROJECT

MENNY = f"{sys.executable} -m menny"


def shell(command: str, typed: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    variables = {**os.environ, **environment}
    words = ["sh", "-c", command]
    return subprocess.run(words, cwd=PROJECT, input=typed, env=variables, capture_output=True, check=False, timeout=300)


def test_a_full_disk_under_the_output_gets_one_line() -> None:
    ended = shell(f"{MENNY} models > /dev/full")
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith("menny: Something can't be read or written ([Errno 28] No space left")
    assert ended.stderr.count(b"\n") == 1


def test_a_reader_that_has_seen_enough_gets_no_complaint() -> None:
    ended = shell(f"{MENNY} models | head -n 1")
    assert (ended.stderr, ended.stdout.count(b"\n")) == (b"", 1)


def test_closed_streams_are_no_fault() -> None:
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        ended = shell(f"{MENNY} --version {closed}")
        assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.slow
def test_a_model_loads_where_the_input_is_closed() -> None:
    ended = shell(f"{MENNY} generate --prompt x --max-tokens 1 <&- >&-")
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.slow
def test_what_an_encoding_lacks_ends_no_chat() -> None:
    typed = "Say é 👍\n".encode() + b"\xff\n"
    ended = shell(f"{MENNY} chat --max-tokens 2", typed, PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.count(b"You: Menny: ") == 2


def run(program: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", f"import os, signal, sys\n{program}"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, check=False, timeout=300)


def test_ctrl_c_ends_it_quietly_before_all_is_imported() -> None:
    ended = run(
        "import runpy\n"
        "importing = lambda event, what: event == 'import' and what[0] == 'menny.cli'\n"
        "sys.addaudithook(lambda *of: importing(*of) and os.kill(os.getpid(), signal.SIGINT))\n"
        "runpy.run_module('menny', run_name='__main__')"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")
