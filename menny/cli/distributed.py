"""A command on several machines: rank 0 runs it, the others follow its engine; all end with the same exit code."""

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
    """Take part in a command, and exit when it is over. Only rank 0 reads and prints."""
    share_cores(ring.processes_here())
    code = _lead(command) if ring.rank == 0 else _follow(ring)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # mlx.launch terminates the others once one has ended with an error
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    ring.dismiss(code)
    os._exit(code)  # at once: threads may be left, as the one that waits for typed lines


def _lead(command: Callable[[], int]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even where mlx.launch ignores it
    signal.signal(signal.SIGTERM, _end_with_the_others)
    return command()


def _follow(ring: Ring) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; rank 0 answers it
    try:
        return follow(ring, lambda name: find_model(name)[1])
    except MennyError as error:
        return complain(f"{error} (rank {ring.rank})", error.exit_code)


def _end_with_the_others(_: int, __: FrameType | None) -> NoReturn:
    os._exit(complain("The pipeline has ended: another machine failed, or mlx.launch was stopped.", 2))
