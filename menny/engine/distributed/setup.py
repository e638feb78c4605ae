"""How machines load a model together: each its own stage, once all have the same model and room for their part of it.

What fails on one machine fails on all, with the same sentence, before anybody waits for weights in vain.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx

from menny.engine.args import ModelArgs
from menny.engine.checkpoints.checkpoint import Source, open_model
from menny.engine.checkpoints.load import build_model
from menny.engine.distributed.ring import Opcode, Ring
from menny.engine.memory_plan import Plan, plan_for_opened
from menny.engine.model import Mistral
from menny.engine.stage import Stage, share_out
from menny.errors import MennyError, ModelError, TooLargeError

SAMPLES, SAMPLE = 64, 4096  # pieces of a file, and their bytes, that tell it from another
LONGEST_ERROR = 500  # characters

Done = TypeVar("Done")
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What rank 0 asks all machines to load, by a name that each of them finds."""

    name: str
    context: int | None
    force: bool


@dataclass(frozen=True)
class PlannedStage:
    """A machine's part of a model, that it hasn't loaded yet."""

    args: ModelArgs
    source: Source
    stage: Stage
    plan: Plan


@dataclass(frozen=True)
class Shared:
    """Rank 0's word for a model that the others find by its name."""

    ring: Ring
    name: str

    def plan(self, path: Path, context: int | None, force: bool) -> PlannedStage:
        """Ask all machines to load the model, which lies here at this path; see `plan_together`."""
        with _speaking(self.ring):
            asked = Asked(self.name, context, force)
            coded = json.dumps(asdict(asked)).encode()
            self.ring.order(Opcode.LOAD, len(coded))
            self.ring.send(mx.array(list(coded), mx.uint8))
            return plan_together(self.ring, asked, lambda _: path)


def receive_asked(ring: Ring, length: int) -> Asked:
    """What rank 0 asks to load, passed on."""
    coded = ring.receive((length,), mx.uint8)
    if not ring.is_last:
        ring.order(Opcode.LOAD, length)
        ring.send(coded)
    return Asked(**json.loads(bytes(memoryview(coded))))  # type: ignore[arg-type]


def plan_together(ring: Ring, asked: Asked, find: Callable[[str], Path]) -> PlannedStage:
    """This machine's part of a model, with a context that all machines have room for.

    Raises ModelError or TooLargeError on every machine where something is wrong on one.
    """

    def work() -> PlannedStage:
        path = find(asked.name)
        args, source = open_model(path)
        if args.n_layers < ring.size:
            raise ModelError(
                f"{path} can be shared by {args.n_layers} machines at most, one for each layer, "
                f"but {ring.size} were started: start fewer."
            )
        stage = share_out(args.n_layers, ring.size)[ring.rank]
        return PlannedStage(args, source, stage, plan_for_opened(args, source, asked.context, asked.force, stage))

    planned, told = _together(ring, work, lambda one: (_fingerprint(one.args, one.source), one.plan.context))
    for rank, (print_, _) in enumerate(told):
        if print_ != told[0][0]:
            raise ModelError(
                f"The machine of rank {rank} has another model by this name than that of rank 0, or other files of it: "
                "copy the same files to all machines."
            )
    return replace(planned, plan=replace(planned.plan, context=min(context for _, context in told)))


def build_together(ring: Ring, planned: PlannedStage) -> tuple[Mistral, tuple[int, ...]]:
    """This machine's stage, loaded, once all have theirs, and the bytes of each one's weights."""
    model, sizes = _together(
        ring, lambda: build_model(planned.args, planned.source, planned.stage), lambda model: model.stage_bytes[0]
    )
    return model, tuple(sizes)


def _together(ring: Ring, work: Callable[[], Done], tell: Callable[[Done], T]) -> tuple[Done, list[T]]:
    """Do something on every machine, and hear what all tell of it; raises on all where it fails on one."""
    done: list[Done] = []
    try:
        done.append(work())
        report: dict[str, Any] = {"told": tell(done[0])}
    except TooLargeError as error:
        report = {"error": str(error)[:LONGEST_ERROR], "sizes": [error.needed, error.room]}
    except MennyError as error:
        report = {"error": str(error)[:LONGEST_ERROR]}
    reports = [json.loads(text) for text in ring.gather(json.dumps(report))]
    for rank, one in enumerate(reports):
        if "error" in one:
            sentence = f"On the machine of rank {rank}: {one['error']}" if rank else one["error"]
            raise TooLargeError(sentence, *one["sizes"]) if "sizes" in one else ModelError(sentence)
    return done[0], [one["told"] for one in reports]


def _fingerprint(args: ModelArgs, source: Source) -> str:
    """Tells a model from others by its numbers, and its files by their sizes and by pieces from all over them."""
    found = hashlib.sha256(repr(args).encode())
    for path in sorted(set(source.shards.values())):
        size = path.stat().st_size
        found.update(str(size).encode())
        with path.open("rb") as file:
            for piece in range(SAMPLES):
                file.seek(piece * max(0, size - SAMPLE) // (SAMPLES - 1))
                found.update(file.read(SAMPLE))
    return found.hexdigest()


@contextmanager
def _speaking(ring: Ring) -> Iterator[None]:
    """While all wait for each other; one that is interrupted meanwhile can't say anything more."""
    ring.speaker = threading.current_thread()
    try:
        yield
    except MennyError:
        ring.speaker = None
        raise
    ring.speaker = None
