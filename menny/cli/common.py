"""Parts that several commands share: options, the catalogue, an engine, JSON output and error lines."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from menny.chat.thinking import Choice, Thinking
from menny.config.paths import CONFIGS, models_folder, own_models_file
from menny.config.settings import load_settings
from menny.engine import load_engine, plan_for
from menny.engine.distributed.ring import join
from menny.engine.distributed.setup import Shared
from menny.errors import TooLargeError
from menny.models.catalogue import ModelSpec, ServerSource, load_catalogue, resolve, will_it_fit
from menny.models.loader import AnyEngine, LoadOptions, Planner, load, notice_of
from menny.models.reasoning import is_reasoner, words_of
from menny.prompts import guess_template
from menny.text import sanitize

ModelName = Annotated[str, typer.Option("--model", "-m", help="A catalogue id, a folder or a .gguf file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        min=1,
        help="Context length in tokens. Default: the longest that fits.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Load the model even if it doesn't seem to fit into memory.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=256, help="Threads that compute on a CPU. Default: one for each core."),
]
Seed = Annotated[int | None, typer.Option(help="Random seed: the same seed gives the same reply.")]


def complain(sentence: str, code: int) -> int:
    """Print an error in one line on standard error; returns the exit code."""
    typer.echo("menny: " + " ".join(sanitize(sentence).split()), err=True)
    return code


def json_text(values: Mapping[str, Any]) -> str:
    """Format one JSON object. NaN and infinities, which JSON lacks, become null."""
    return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def catalogue() -> tuple[list[ModelSpec], list[Any]]:
    """Load the catalogue: its models, and the errors in its files."""
    specs, errors = load_catalogue(CONFIGS / "models.yaml", models_folder(), own_file=own_models_file())
    return specs, list(errors)


def find_model(name: str) -> tuple[ModelSpec, Path]:
    """Find a model: its entry in the catalogue, and its path on this machine."""
    spec = resolve(name, catalogue()[0])
    return spec, spec.present()


def is_judge(name: str) -> bool:
    """Return true for a model that judges texts and can't chat."""
    return resolve(name, catalogue()[0]).is_judge


def thinking_of(name: str, choice: Choice) -> Thinking:
    """Return whether and how a model thinks before it answers."""
    spec = resolve(name, catalogue()[0])
    return Thinking(choice, load_settings().thought_tokens, is_reasoner(spec), words_of(spec))


def find_fitting(name: str, force: bool) -> Path:
    """Find the path of a model. Raises TooLargeError if it doesn't fit into memory, unless forced."""
    _, path = find_model(name)
    with _suggesting_force():
        plan_for(path, force=force)
    return path


@contextmanager
def open_engine(
    name: str, context: int | None = None, force: bool = False, threads: int | None = None
) -> Iterator[tuple[AnyEngine, str]]:
    """Load a model, on all machines that take part; yields its engine and the template of its prompts."""
    specs, _ = catalogue()
    spec, ring = resolve(name, specs), join()
    with _suggesting_force():
        if ring is None or isinstance(spec.source, ServerSource):
            engine = _load_fitting(spec, LoadOptions(context, force, threads), specs)
        else:
            path = find_model(name)[1]
            engine = load_engine(path, context_length=context, force=force, shared=Shared(ring, name))
    with engine:
        if notice := notice_of(engine):
            typer.echo(f"({notice})", err=True)
        yield engine, spec.template or guess_template(engine.tokenizer)


def _load_fitting(spec: ModelSpec, options: LoadOptions, specs: Sequence[ModelSpec]) -> AnyEngine:
    """Load a model; where it doesn't fit, name what would: another context, fewer bits, another model."""
    try:
        return load(spec, options)
    except TooLargeError as error:
        fit = will_it_fit(spec, Planner(), specs, options.context)
        raise TooLargeError(f"{spec.name}: {fit or error}", error.needed, error.room) from None


@contextmanager
def _suggesting_force() -> Iterator[None]:
    try:
        yield
    except TooLargeError as error:
        sentence = f"{error} To load it anyway, add --force."
        raise TooLargeError(sentence, error.needed, error.room) from None
