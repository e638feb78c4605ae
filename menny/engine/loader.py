"""load_engine: from a path to an engine with a thread of its own."""

import os
from functools import partial
from pathlib import Path

from menny.engine.cache_files import CacheFolder
from menny.engine.checkpoints.checkpoint import open_model
from menny.engine.checkpoints.load import build_model
from menny.engine.distributed.pipeline import load_pipeline
from menny.engine.distributed.setup import Shared
from menny.engine.memory_plan import Plan, plan_for_opened
from menny.engine.worker import PARALLEL, Build, Engine
from menny.errors import EngineError


def load_engine(
    path: str | Path,
    *,
    context_length: int | None = None,
    force: bool = False,
    prefix_bytes: int | None = None,
    shared: Shared | None = None,
    threads: int | None = None,
    parallel: int = PARALLEL,
    cache_folder: CacheFolder | None = None,
) -> Engine:
    """Load a model folder or .gguf file, with its tokenizer, on a thread of its own. Raises ModelError.

    Prompt and reply together may have `context_length` tokens; by default, as many as fit into memory. A model that
    doesn't fit raises TooLargeError before a weight is read, unless `force` is set.
    Caches of recent conversations are kept for their next turns in up to `prefix_bytes`; 0: none are kept.
    `parallel` requests are served at once, or as many as memory holds the caches of; the next ones wait.
    `shared` names the other machines that hold their part of the model; they serve one request after the other.
    On a CPU, `threads` compute (default: one for each physical core). Caches of conversations that allow it
    (SamplingParams.keep_cache) are kept in `cache_folder` from start to start.
    """
    path = Path(os.path.expanduser(path))
    if parallel < 1:
        raise EngineError(f"parallel is {parallel}, but must be at least 1.")

    def prepare() -> tuple[Plan, Build]:
        args, source = open_model(path)
        return plan_for_opened(args, source, context_length, force), partial(build_model, args, source, threads=threads)

    if shared:
        stage = shared.plan(path, context_length, force)
        return Engine(path, lambda: (stage.plan, partial(load_pipeline, shared.ring, stage)), prefix_bytes, parallel=1)
    return Engine(path, prepare, prefix_bytes, parallel, cache_folder)
