"""Processes in a ring, as tests of several machines need them; and, run by itself, one of them.

`python ranks.py MODEL…` puts one session to each model in a pipeline, on rank 0, and prints what came of it as JSON;
the other ranks follow it.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from menny.config.paths import PROJECT
from menny.engine import Engine, SamplingParams, load_engine
from menny.engine.distributed.pipeline import follow
from menny.engine.distributed.ring import join
from menny.engine.distributed.setup import Shared
from menny.engine.passes import PREFILL_CHUNK

HERE = Path(__file__)
LAUNCHER = Path(sys.executable).with_name("mlx.launch")
PATIENCE = 60  # seconds that a process may take: two of them import MLX beside all else that a busy machine does


def session(engine: Engine) -> list[Any]:
    """What a model says: greedily and by seeds, to prompts long and short, in a second turn, cut short, and scored."""
    prompt = [token % 259 for token in range(7, 7 + PREFILL_CHUNK + 30)]
    first = said(engine, prompt, temperature=0, max_tokens=12)
    return [
        first,
        said(engine, [*prompt, *first["tokens"], 5, 6], temperature=0, max_tokens=5),
        said(engine, prompt[:9], temperature=0.9, seed=3, repetition_penalty=1.3, max_tokens=12),
        said(engine, prompt[:9], temperature=1.5, seed=4, top_p=0.9, max_tokens=12),
        said(engine, prompt, stop_after=3, temperature=0),
        said(engine, [*prompt[:50], 9, 9], temperature=0, max_tokens=4),
        said(engine, prompt[:5], temperature=0, max_tokens=60),  # it comes to repeat itself, which drafts gain from
        [round(one.log_likelihood, 3) for one in engine.score(prompt[:20], [[1, 2, 3], [4], [5, 6]])],
    ]


def said(engine: Engine, prompt: list[int], stop_after: int = 1 << 30, **params: Any) -> dict[str, Any]:
    """A reply. For one by a seed, a machine alone may take more from its cache, where its kernels compute exactly."""
    stream = engine.stream(prompt, SamplingParams(**params))
    chunks = []
    for chunk in stream:
        chunks.append(chunk)
        if len(chunks) == stop_after:
            stream.cancel()
    tokens = [chunk.token for chunk in chunks if chunk.token is not None]
    return {
        "tokens": tokens[: min(stop_after, 99)],
        "end": chunks[-1].finish_reason,
        "cached": None if "seed" in params else chunks[-1].cached_tokens,
    }


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports, below those that the system hands out."""
    for _ in range(100):
        first = random.randrange(20000, 32000 - count)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise OSError("there are no free ports")


@contextlib.contextmanager
def ranks(
    folder: Path, count: int, *words: str, cwds: Sequence[Path] = (), **changes: str
) -> Iterator[list["subprocess.Popen[str]"]]:
    """The same command on every rank, started by hand."""
    first = free_ports(count)
    hosts = folder / f"hosts-{first}.json"
    hosts.write_text(json.dumps([[f"127.0.0.1:{first + rank}"] for rank in range(count)]))
    environment = os.environ | {"MLX_HOSTFILE": str(hosts), "PYTHONPATH": str(PROJECT), **changes}
    started = [
        subprocess.Popen(
            [sys.executable, *words],
            cwd=cwds[rank] if cwds else PROJECT,
            env=environment | {"MLX_RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def ended(process: "subprocess.Popen[str]", typed: str | None = None) -> tuple[int, str, str]:
    """The exit code of a process, and what it printed, once it is over."""
    out, err = process.communicate(typed, timeout=PATIENCE)
    return process.returncode, out, err


def launched(count: int, *words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """`python -m menny` with these words on every rank, started by mlx.launch."""
    ring = [str(LAUNCHER), "-n", str(count), "--backend", "ring", "-p", str(free_ports(count))]
    return subprocess.run(
        [*ring, "--", sys.executable, "-m", "menny", *words],
        cwd=PROJECT,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def main(paths: Sequence[str]) -> None:
    ring = join()
    assert ring
    if ring.rank:
        ring.dismiss(follow(ring, Path))
        return
    told = []
    for path in paths:
        with load_engine(path, shared=Shared(ring, path)) as engine:
            told.append({"said": session(engine), "bytes": engine.stage_bytes})
    print(json.dumps(told), flush=True)
    ring.dismiss(0)


if __name__ == "__main__":
    main(sys.argv[1:])
