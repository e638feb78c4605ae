"""One command on several machines: rank 0 runs it, the others follow its engine; all end with one exit code."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from menny.cli.common import complain, find_model
from menny.engine.cpu.blas import share_cores
from menny.engine.distributed.pipeline import follow
from menny.engine.distributed.ring import Ring
from menny.errors import MennyError


def run_together(ring: Ring, command: Callable[[], int]) -> NoReturn:
    """Take part in a command, and leave the process when it is over. Only rank 0 reads and prints."""
    share_cores(ring.processes_here())
    code = _lead(command) if ring.rank == 0 else _follow(ring)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once one has ended with an error, mlx.launch terminates the others
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    ring.dismiss(code)
    os._exit(code)  # at once: what is left, as a thread that waits for typed lines, is waited for in vain


def _lead(command: Callable[[], int]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even where mlx.launch was told to ignore it
    signal.signal(signal.SIGTERM, _told_to_end)
    return command()


def _follow(ring: Ring) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; rank 0 answers it
    try:
        return follow(ring, lambda name: find_model(name)[1])
    except MennyError as error:
        return complain(f"{error} (rank {ring.rank})", error.exit_code)


def _told_to_end(_: int, __: FrameType | None) -> NoReturn:
    os._exit(complain("The pipeline was ended: another of its machines has failed, or mlx.launch was stopped.", 2))
