"""The ring of machines that mlx.launch starts a command on: orders, arrays and short texts pass between them.

Each machine sends to the next, the last to the first: MLX's ring backend connects neighbours only. Rank 0 gives the
orders, which every machine passes on. Everything is sent and received at once, never lazily: so it arrives in order,
and MLX reports a machine that is gone (work that is queued behind its answer would wait without end).
"""

import json
import os
import platform
import signal
import threading
from enum import IntEnum
from functools import cache
from pathlib import Path

import mlx.core as mx

from menny.errors import EngineError, PipelineError

WORDS = 6  # numbers of an order: the opcode, and up to five arguments
LONGEST_TEXT = 4096  # bytes
FAREWELL = 3  # seconds to wait for the others at the end


class Opcode(IntEnum):
    """An order of rank 0, with its arguments."""

    LOAD = 1  # bytes of the request, which follow
    DESCRIBE = 2  # type of the hidden states; the last machine replies with the type of its logits
    PREFILL = 3  # cache, rows, tokens, type, 1 to use a single thread; hidden states follow
    FORWARD = 4  # the same, and the last machine replies with logits
    PREFIX = 5  # cache, new cache, tokens: a copy with only these
    BROADCAST = 6  # cache, new cache, rows: a copy for a batch
    TRIM = 7  # cache, tokens: drop those after them
    RESERVE = 8  # cache, tokens: make room for this number more at once
    FORGET = 9  # cache
    REST = 10  # there are no requests
    END = 11  # exit code; comes back to rank 0


class Ring:
    """This machine's place in the ring."""

    def __init__(self, group: mx.distributed.Group) -> None:
        self._group = group
        self.rank = group.rank()
        self.size = group.size()
        self.speaker: threading.Thread | None = None  # the thread that exchanges with the others

    @property
    def is_last(self) -> bool:
        """True if the next machine is rank 0."""
        return self.rank == self.size - 1

    def send(self, array: mx.array) -> None:
        """Send an array to the next machine."""
        mx.eval(mx.distributed.send(array, (self.rank + 1) % self.size, group=self._group))

    def receive(self, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
        """Wait for an array from the previous machine."""
        array = mx.distributed.recv(shape, dtype, (self.rank - 1) % self.size, group=self._group)
        mx.eval(array)
        return array

    def order(self, order: Opcode, *numbers: int) -> None:
        """Send an order to the next machine."""
        words = [order, *numbers]
        self.send(mx.array(words + [0] * (WORDS - len(words)), mx.int32))

    def next_order(self) -> tuple[Opcode, list[int]]:
        """Wait for an order from the previous machine."""
        words: list[int] = self.receive((WORDS,), mx.int32).tolist()  # type: ignore[assignment]
        return Opcode(words[0]), words[1:]

    def gather(self, text: str) -> list[str]:
        """Exchange a text with all machines; returns every machine's, by rank."""
        coded = text.encode()[: LONGEST_TEXT - 1].ljust(LONGEST_TEXT, b"\0")
        gathered = mx.distributed.all_gather(mx.array(list(coded), mx.uint8), group=self._group)
        rows = [bytes(memoryview(row)) for row in gathered.reshape(self.size, -1)]  # type: ignore[arg-type]
        return [row.rstrip(b"\0").decode(errors="ignore") for row in rows]

    def processes_here(self) -> int:
        """Count the ranks that run on this very machine; all ranks must call it."""
        machines = self.gather(platform.node())
        return machines.count(machines[self.rank])

    def dismiss(self, code: int) -> None:
        """End all machines with this exit code; rank 0 waits for a few seconds until all have it.

        While a model's thread is still at work nothing can be sent: the others will notice that this machine is gone.
        """
        if self.speaker and self.speaker.is_alive():
            return
        passing = threading.Thread(target=self._pass_end, args=(code,), daemon=True)
        passing.start()
        passing.join(FAREWELL)  # MLX may wait for a machine that is gone, and nothing interrupts it

    def _pass_end(self, code: int) -> None:
        try:
            self.order(Opcode.END, code)
            if self.rank == 0:
                self.next_order()
        except (RuntimeError, ValueError):
            return  # a machine is gone
        finally:
            mx.clear_streams()


@cache
def join() -> Ring | None:
    """Join the ring that this process was started in, by mlx.launch or by hand; None: it is alone.

    Waits for all machines. Raises EngineError where they can't reach each other.
    """
    if not _has_others():
        return None
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # MLX sees no signal while it waits
    try:
        group = mx.distributed.init(strict=True)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EngineError(
            f"The machines can't reach each other ({reason}): check the hostfile and the ports."
        ) from error
    finally:
        signal.signal(signal.SIGINT, before)
    return Ring(group) if group.size() > 1 else None


def _has_others() -> bool:
    """True if the environment names other ranks, as mlx.launch sets it for each of its backends."""
    variables = os.environ
    if "MLX_HOSTFILE" in variables:  # ring; with one host it is empty
        try:
            hosts = json.loads(Path(variables["MLX_HOSTFILE"]).read_text().strip() or "[]")
        except (OSError, ValueError):
            return True  # MLX will say what is wrong with it
        return not isinstance(hosts, list) or len(hosts) > 1
    sizes = [variables.get(name, "1") for name in ("MLX_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE")]  # NCCL, MPI
    return "MLX_IBV_DEVICES" in variables or any(size != "1" for size in sizes)  # JACCL


def lost(error: Exception) -> PipelineError | None:
    """The PipelineError that a failure of MLX means; None for any other failure."""
    if "connection to a peer was lost" not in str(error):
        return None
    return PipelineError(
        "Another machine of the pipeline is gone, so this one ends too: start the command again on all of them."
    )
