"""The machines that mlx.launch starts one command on, and what passes between them: orders, arrays and short texts.

They stand in a ring, each sending to the next, the last to the first: MLX's ring backend knows neighbours only. Rank 0
does the talking; the others follow its orders, which every machine passes on. All is sent and received at once, never
lazily: so things arrive in their order, and MLX tells when a machine has gone (work that is queued behind its answer
would wait without end).
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

WORDS = 6  # of an order: what to do, and up to five numbers
LONGEST_TEXT = 4096  # bytes
FAREWELL = 3  # seconds


class Opcode(IntEnum):
    """What rank 0 asks for, with the numbers that belong to it."""

    LOAD = 1  # bytes of what is asked for, which follow
    DESCRIBE = 2  # type of the hidden states; the last machine answers with the type of its logits
    READ = 3  # cache, rows, tokens, type, whether one thread is to do it; hidden states follow
    ANSWER = 4  # the same, and the last machine answers with logits
    UNTIL = 5  # cache, new cache, tokens: a copy that has seen only these
    REPEAT = 6  # cache, new cache, rows: a copy for a batch
    REWIND = 7  # cache, tokens: forget those behind them
    EXPECT = 8  # cache, tokens: make room for so many more at once
    FORGET = 9  # cache
    REST = 10  # nothing is to be done for a while
    END = 11  # exit code; comes back to rank 0


class Ring:
    """This machine's place among the others."""

    def __init__(self, group: mx.distributed.Group) -> None:
        self._group = group
        self.rank = group.rank()
        self.size = group.size()
        self.speaker: threading.Thread | None = None  # that is at work with the others

    @property
    def is_last(self) -> bool:
        """Whether the next machine is rank 0."""
        return self.rank == self.size - 1

    def send(self, array: mx.array) -> None:
        """Hand an array to the next machine."""
        mx.eval(mx.distributed.send(array, (self.rank + 1) % self.size, group=self._group))

    def receive(self, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
        """Wait for an array of the previous machine."""
        array = mx.distributed.recv(shape, dtype, (self.rank - 1) % self.size, group=self._group)
        mx.eval(array)
        return array

    def order(self, order: Opcode, *numbers: int) -> None:
        """Send an order to the next machine."""
        words = [order, *numbers]
        self.send(mx.array(words + [0] * (WORDS - len(words)), mx.int32))

    def next_order(self) -> tuple[Opcode, list[int]]:
        """Wait for an order of the previous machine."""
        words: list[int] = self.receive((WORDS,), mx.int32).tolist()  # type: ignore[assignment]
        return Opcode(words[0]), words[1:]

    def gather(self, text: str) -> list[str]:
        """Every machine's text, by rank; all take part."""
        coded = text.encode()[: LONGEST_TEXT - 1].ljust(LONGEST_TEXT, b"\0")
        told = mx.distributed.all_gather(mx.array(list(coded), mx.uint8), group=self._group)
        rows = [bytes(memoryview(row)) for row in told.reshape(self.size, -1)]  # type: ignore[arg-type]
        return [row.rstrip(b"\0").decode(errors="ignore") for row in rows]

    def processes_here(self) -> int:
        """How many of all run on this very machine; all take part."""
        machines = self.gather(platform.node())
        return machines.count(machines[self.rank])

    def dismiss(self, code: int) -> None:
        """Pass it on that all end with this exit code; rank 0 waits until everybody knows, though not for ever.

        Where a model's thread was left at work nothing can be said: the others will miss this machine.
        """
        if self.speaker and self.speaker.is_alive():
            return
        passing = threading.Thread(target=self._pass_end, args=(code,), daemon=True)
        passing.start()
        passing.join(FAREWELL)  # MLX may wait for a machine that has gone, and nothing interrupts it

    def _pass_end(self, code: int) -> None:
        try:
            self.order(Opcode.END, code)
            if self.rank == 0:
                self.next_order()
        except (RuntimeError, ValueError):
            return  # a machine that has gone needn't be told
        finally:
            mx.clear_streams()


@cache
def join() -> Ring | None:
    """The ring that this process was started in, by mlx.launch or by hand; None: it is alone.

    Waits until all have come. Raises EngineError where the machines don't reach each other.
    """
    if not _has_company():
        return None
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # MLX doesn't look up while it waits
    try:
        group = mx.distributed.init(strict=True)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EngineError(f"The machines don't reach each other ({reason}): check hostfile and ports.") from error
    finally:
        signal.signal(signal.SIGINT, before)
    return Ring(group) if group.size() > 1 else None


def _has_company() -> bool:
    """Whether the environment tells of other ranks, as mlx.launch writes it for each of its backends."""
    told = os.environ
    if "MLX_HOSTFILE" in told:  # ring; with one host it is empty
        try:
            hosts = json.loads(Path(told["MLX_HOSTFILE"]).read_text().strip() or "[]")
        except (OSError, ValueError):
            return True  # MLX will say what is wrong with it
        return not isinstance(hosts, list) or len(hosts) > 1
    sizes = [told.get(name, "1") for name in ("MLX_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE")]  # NCCL, MPI
    return "MLX_IBV_DEVICES" in told or any(size != "1" for size in sizes)  # JACCL


def lost(error: Exception) -> PipelineError | None:
    """What a failure of MLX's says about the machines, if anything."""
    if "connection to a peer was lost" not in str(error):
        return None
    return PipelineError(
        "Another machine of the pipeline is gone, so this one ends too: start it again on all of them."
    )
