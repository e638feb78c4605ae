"""The lines that a user types into a chat, or pipes into it.

mlx.launch reads its own input and passes it on to all processes, but doesn't close theirs at its end. On Linux the end
is found by way of /proc; elsewhere a piped chat has to end with /bye.
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

try:  # noqa: SIM105 - an optional dependency is imported so everywhere
    import readline  # noqa: F401 - it lets the arrow keys bring back what was typed
except ImportError:  # some Pythons come without it
    pass

PROMPT = "You: "
ENDS = ("/bye", "/quit", "/exit")
PATIENCE = 0.5  # seconds without a line, twice, after which no more lines of an ended input are on their way


def typed_lines() -> Iterator[str]:
    """Yield each line, stripped, until the input ends or a line says so, as /bye. Ctrl-C begins a new line."""
    read = _reader()
    while True:
        try:
            line = read().strip()
        except KeyboardInterrupt:
            typer.echo()
            continue
        except EOFError:
            typer.echo()
            return
        if line.lower() in ENDS:
            return
        yield line


def _reader() -> Callable[[], str]:
    """Make the function that waits for a line, and raises EOFError at the end."""
    launcher = psutil.Process().parent()
    if launcher is None or sys.stdin.isatty() or not _is_mlx_launch(launcher):
        return lambda: input(PROMPT)
    return _RelayedInput(Path(f"/proc/{launcher.pid}")).read


def _is_mlx_launch(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(Path(word).name == "mlx.launch" or word.endswith("_distributed_utils.launch") for word in words[:4])


class _RelayedInput:
    """The lines that mlx.launch passes on; `launcher` is its folder in /proc."""

    def __init__(self, launcher: Path) -> None:
        self._launcher = launcher
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._typed = b""
        threading.Thread(target=self._receive, daemon=True).start()

    def read(self) -> str:
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
        """Wait for the next bytes; none at the end."""
        had_ended = False
        while True:
            try:
                return self._pieces.get(timeout=PATIENCE)
            except queue.Empty:
                ended = has_ended(self._launcher)
            if ended and had_ended:
                return b""
            had_ended = ended

    def _receive(self) -> None:
        while piece := os.read(sys.stdin.fileno(), 1 << 16):
            self._pieces.put(piece)
        self._pieces.put(b"")


def has_ended(process: Path) -> bool:
    """True if a process, by its folder in /proc, has read its standard input to the end."""
    try:
        status = (process / "fd/0").stat()
        if stat.S_ISREG(status.st_mode):
            return int((process / "fdinfo/0").read_text().split()[1]) >= status.st_size
        if stat.S_ISFIFO(status.st_mode):
            return _is_hung_up(process / "fd/0")
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return False


def _is_hung_up(pipe: Path) -> bool:
    """True if a pipe has no writer any more, and is empty."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        events = poll.poll(0)
        return bool(events) and bool(events[0][1] & select.POLLHUP) and not events[0][1] & select.POLLIN
    finally:
        os.close(reader)
