"""What is typed into a chat: when the input of a program that passes it on has ended."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from menny.cli.input_lines import has_ended, typed_lines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of another process's input")


@contextmanager
def reader(stdin: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that reads its input to the end and lives on."""
    process = subprocess.Popen(["sh", "-c", "cat > /dev/null; exec sleep 60"], stdin=stdin)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ends(process: "subprocess.Popen[bytes]") -> bool:
    """Whether its input ends within some seconds."""
    for _ in range(500):
        if has_ended(Path(f"/proc/{process.pid}")):
            return True
        time.sleep(0.01)
    return False


def test_a_pipe_has_ended_when_its_writer_has_closed_it() -> None:
    with reader(subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"a line\n")
        process.stdin.flush()
        assert not has_ended(Path(f"/proc/{process.pid}"))
        process.stdin.close()
        process.stdin = None
        assert ends(process)


def test_a_file_has_ended_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a line\n" * 1000)
    with (tmp_path / "lines").open() as file, reader(file) as process:
        assert ends(process)


def test_nothing_is_at_its_end_at_once() -> None:
    with reader(subprocess.DEVNULL) as process:
        assert has_ended(Path(f"/proc/{process.pid}"))


def test_a_process_that_is_gone_tells_nothing() -> None:
    assert not has_ended(Path("/proc/0"))


@pytest.mark.parametrize("end", ["/bye", "/quit", " /EXIT "])
def test_a_chat_ends_by_any_of_the_usual_words(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["hello", "/byes", end, "never"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    assert list(typed_lines()) == ["hello", "/byes"]
