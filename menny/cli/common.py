"""What several commands need: their common options, the catalogue, an engine, and how an error is told."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from menny.config.paths import CONFIGS, models_folder, own_models_file
from menny.engine import load_engine, plan_for
from menny.engine.distributed.ring import join
from menny.engine.distributed.setup import Shared
from menny.errors import TooLargeError
from menny.models.catalogue import ModelSpec, ServerSource, load_catalogue, resolve, will_it_fit
from menny.models.loader import AnyEngine, LoadOptions, Planner, load
from menny.prompts import guess_template
from menny.text import sanitize

ModelName = Annotated[str, typer.Option("--model", "-m", help="A catalogue id, a folder, or a .gguf file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Context = Annotated[
    int | None, typer.Option("--context", min=1, help="Tokens of prompt and reply together. Default: as many as fit.")
]
Force = Annotated[bool, typer.Option("--force", help="Load a model that doesn't seem to fit into memory all the same.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, max=256, help="Threads that multiply on a CPU. Default: its cores.")
]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same reply.")]


def complain(sentence: str, code: int) -> int:
    """Tell what is wrong, in one line on standard error; returns the exit code."""
    typer.echo("menny: " + " ".join(sanitize(sentence).split()), err=True)
    return code


def json_text(told: Mapping[str, Any]) -> str:
    """One JSON object. What isn't a number, or has no end, is null in it: JSON has no word for either."""
    return json.dumps(_finite(told), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def catalogue() -> tuple[list[ModelSpec], list[Any]]:
    """The models that there are to choose from, and what is wrong with their file."""
    specs, problems = load_catalogue(CONFIGS / "models.yaml", models_folder(), own_file=own_models_file())
    return specs, list(problems)


def find_model(name: str) -> tuple[ModelSpec, Path]:
    """A model's entry, and where it lies on this machine."""
    spec = resolve(name, catalogue()[0])
    return spec, spec.present()


def find_fitting(name: str, force: bool) -> Path:
    """Where a model lies that fits into memory, or has to."""
    _, path = find_model(name)
    with _telling_of_force():
        plan_for(path, force=force)
    return path


@contextmanager
def open_engine(
    name: str, context: int | None = None, force: bool = False, threads: int | None = None
) -> Iterator[tuple[AnyEngine, str]]:
    """The engine of a model, on all machines that take part, with the template that its prompts take."""
    specs, _ = catalogue()
    spec, ring = resolve(name, specs), join()
    with _telling_of_force():
        if ring is None or isinstance(spec.source, ServerSource):
            engine = _load_fitting(spec, LoadOptions(context, force, threads), specs)
        else:
            path = find_model(name)[1]
            engine = load_engine(path, context_length=context, force=force, shared=Shared(ring, name))
    with engine:
        yield engine, spec.template or guess_template(engine.tokenizer)


def _load_fitting(spec: ModelSpec, options: LoadOptions, specs: Sequence[ModelSpec]) -> AnyEngine:
    """Load a model; where it doesn't fit, name what would: another context, fewer bits, another model."""
    try:
        return load(spec, options)
    except TooLargeError as error:
        fit = will_it_fit(spec, Planner(), specs, options.context)
        raise TooLargeError(f"{spec.name}: {fit or error}", error.needed, error.room) from None


@contextmanager
def _telling_of_force() -> Iterator[None]:
    try:
        yield
    except TooLargeError as error:
        sentence = f"{error} To try all the same: --force."
        raise TooLargeError(sentence, error.needed, error.room) from None
