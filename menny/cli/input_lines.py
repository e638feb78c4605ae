"""What a user types into a chat, or pipes into it, line by line.

mlx.launch reads its own input and hands it to all that it started, but never tells them that it has ended. On Linux we
see that ourselves; elsewhere a piped chat ends by /bye, as a typed one can.
"""

import os
import queue
import select
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import typer

PROMPT = "You: "
PATIENCE = 0.5  # seconds without a line, twice, after which an input that has ended has nothing on its way


def typed_lines() -> Iterator[str]:
    """Each line without the space around it, until the input ends, or /bye. Ctrl-C begins a new one."""
    ask = _asking()
    while True:
        try:
            line = ask().strip()
        except KeyboardInterrupt:
            typer.echo()
            continue
        except EOFError:
            typer.echo()
            return
        if line == "/bye":
            return
        yield line


def _asking() -> Callable[[], str]:
    """What waits for a line, and raises EOFError at the end."""
    launcher = psutil.Process().parent()
    if launcher is None or sys.stdin.isatty() or not _is_mlx_launch(launcher):
        return lambda: input(PROMPT)
    return _Relayed(Path(f"/proc/{launcher.pid}")).ask


def _is_mlx_launch(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(Path(word).name == "mlx.launch" or word.endswith("_distributed_utils.launch") for word in words[:4])


class _Relayed:
    """Lines that mlx.launch passes on, whose folder in /proc this is."""

    def __init__(self, launcher: Path) -> None:
        self._launcher = launcher
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._typed = b""
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self) -> str:
        typer.echo(PROMPT, nl=False)
        sys.stdout.flush()
        while b"\n" not in self._typed:
            piece = self._piece()
            if not piece and not self._typed:
                raise EOFError
            self._typed += piece or b"\n"
        line, self._typed = self._typed.split(b"\n", 1)
        return line.decode(errors="replace")

    def _piece(self) -> bytes:
        """The next bytes; none at the end."""
        had_ended = False
        while True:
            try:
                return self._pieces.get(timeout=PATIENCE)
            except queue.Empty:
                ended = has_ended(self._launcher)
            if ended and had_ended:
                return b""
            had_ended = ended

    def _read(self) -> None:
        while piece := os.read(sys.stdin.fileno(), 1 << 16):
            self._pieces.put(piece)
        self._pieces.put(b"")


def has_ended(process: Path) -> bool:
    """Whether a process, by its folder in /proc, has read its standard input to the end."""
    try:
        found = (process / "fd/0").stat()
        if stat.S_ISREG(found.st_mode):
            return int((process / "fdinfo/0").read_text().split()[1]) >= found.st_size
        if stat.S_ISFIFO(found.st_mode):
            return _is_hung_up(process / "fd/0")
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return False


def _is_hung_up(pipe: Path) -> bool:
    """Whether nobody writes to a pipe any more, and nothing is left in it."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        events = poll.poll(0)
        return bool(events) and bool(events[0][1] & select.POLLHUP) and not events[0][1] & select.POLLIN
    finally:
        os.close(reader)
