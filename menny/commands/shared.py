"""What several commands need: their common options, the catalogue, an engine, and how an error is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from menny.catalogue import ModelSpec, load_catalogue, resolve
from menny.config import CONFIGS, models_folder
from menny.engine import Engine, load_engine
from menny.errors import ModelError
from menny.prompts import guess_template

ModelName = Annotated[str, typer.Option("--model", "-m", help="A catalogue id, a folder, or a .gguf file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same reply.")]


def complain(sentence: str, code: int) -> int:
    """Tell what is wrong, in one line on standard error; returns the exit code."""
    typer.echo("menny: " + " ".join(sentence.split()), err=True)
    return code


def catalogue() -> tuple[list[ModelSpec], list[Any]]:
    """The models that there are to choose from, and what is wrong with their file."""
    specs, problems = load_catalogue(CONFIGS / "models.yaml", models_folder())
    return specs, list(problems)


def find_model(name: str) -> tuple[ModelSpec, Path]:
    """A model's entry, and where it lies on this machine."""
    spec = resolve(name, catalogue()[0])
    path = spec.path()
    if path is None:
        raise ModelError(f"{spec.name} is not on this machine. Get it by: {spec.how_to_get}")
    return spec, path


@contextmanager
def open_engine(name: str) -> Iterator[tuple[Engine, str]]:
    """The engine of a model, with the template that its prompts take."""
    spec, path = find_model(name)
    with load_engine(path) as engine:
        yield engine, spec.template or guess_template(engine.tokenizer)
