"""Loading a model on several machines: each loads its stage, once all have the same model and enough memory.

An error on one machine is raised on all, with the same sentence, before any of them waits for weights in vain.
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

SAMPLES, SAMPLE = 64, 4096  # pieces of a file in its fingerprint, and their bytes
LONGEST_ERROR = 500  # characters

Done = TypeVar("Done")
T = TypeVar("T")


@dataclass(frozen=True)
class LoadRequest:
    """Rank 0's request to load a model, by a name that each machine finds."""

    name: str
    context: int | None
    force: bool


@dataclass(frozen=True)
class PlannedStage:
    """A machine's part of a model, before it is loaded."""

    args: ModelArgs
    source: Source
    stage: Stage
    plan: Plan


@dataclass(frozen=True)
class Shared:
    """A model that all machines of a ring share, by a name that each of them finds."""

    ring: Ring
    name: str

    def plan(self, path: Path, context: int | None, force: bool) -> PlannedStage:
        """Ask all machines to load the model, which is here at this path; see `plan_together`."""
        with _speaking(self.ring):
            request = LoadRequest(self.name, context, force)
            coded = json.dumps(asdict(request)).encode()
            self.ring.order(Opcode.LOAD, len(coded))
            self.ring.send(mx.array(list(coded), mx.uint8))
            return plan_together(self.ring, request, lambda _: path)


def receive_request(ring: Ring, length: int) -> LoadRequest:
    """Receive rank 0's request, and pass it on."""
    coded = ring.receive((length,), mx.uint8)
    if not ring.is_last:
        ring.order(Opcode.LOAD, length)
        ring.send(coded)
    return LoadRequest(**json.loads(bytes(memoryview(coded))))  # type: ignore[arg-type]


def plan_together(ring: Ring, request: LoadRequest, find: Callable[[str], Path]) -> PlannedStage:
    """Plan this machine's part of a model, with a context that all machines have room for.

    Raises ModelError or TooLargeError on all machines where one of them has an error.
    """

    def work() -> PlannedStage:
        path = find(request.name)
        args, source = open_model(path)
        if args.n_layers < ring.size:
            raise ModelError(
                f"{path} can be shared by at most {args.n_layers} machines, one for each layer, "
                f"but {ring.size} were started: start fewer."
            )
        stage = share_out(args.n_layers, ring.size)[ring.rank]
        return PlannedStage(args, source, stage, plan_for_opened(args, source, request.context, request.force, stage))

    planned, reports = _together(ring, work, lambda one: (_fingerprint(one.args, one.source), one.plan.context))
    for rank, (print_, _) in enumerate(reports):
        if print_ != reports[0][0]:
            raise ModelError(
                f"The machine of rank {rank} has another model by this name than that of rank 0, or other files of it: "
                "copy the same files to all machines."
            )
    return replace(planned, plan=replace(planned.plan, context=min(context for _, context in reports)))


def build_together(ring: Ring, planned: PlannedStage) -> tuple[Mistral, tuple[int, ...]]:
    """Load this machine's stage; returns it, once all have theirs, and the bytes of each machine's weights."""
    model, sizes = _together(
        ring, lambda: build_model(planned.args, planned.source, planned.stage), lambda model: model.stage_bytes[0]
    )
    return model, tuple(sizes)


def _together(ring: Ring, work: Callable[[], Done], summarize: Callable[[Done], T]) -> tuple[Done, list[T]]:
    """Do something on every machine, and exchange a summary of it; raises on all where it fails on one."""
    done: list[Done] = []
    try:
        done.append(work())
        report: dict[str, Any] = {"summary": summarize(done[0])}
    except TooLargeError as error:
        report = {"error": str(error)[:LONGEST_ERROR], "sizes": [error.needed, error.room]}
    except MennyError as error:
        report = {"error": str(error)[:LONGEST_ERROR]}
    reports = [json.loads(text) for text in ring.gather(json.dumps(report))]
    for rank, one in enumerate(reports):
        if "error" in one:
            sentence = f"On the machine of rank {rank}: {one['error']}" if rank else one["error"]
            raise TooLargeError(sentence, *one["sizes"]) if "sizes" in one else ModelError(sentence)
    return done[0], [one["summary"] for one in reports]


def _fingerprint(args: ModelArgs, source: Source) -> str:
    """A hash of a model's args, and of its files' sizes and some pieces of each."""
    digest = hashlib.sha256(repr(args).encode())
    for path in sorted(set(source.shards.values())):
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for piece in range(SAMPLES):
                file.seek(piece * max(0, size - SAMPLE) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()


@contextmanager
def _speaking(ring: Ring) -> Iterator[None]:
    """Mark this thread as the one that exchanges; after an interruption it can't send anything more."""
    ring.speaker = threading.current_thread()
    try:
        yield
    except MennyError:
        ring.speaker = None
        raise
    ring.speaker = None
