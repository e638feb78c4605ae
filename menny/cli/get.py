"""The command that brings a model to this machine: get."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from menny.cli.common import catalogue
from menny.cli.tables import download_text
from menny.config.paths import models_folder
from menny.errors import ModelError
from menny.models.catalogue import ModelSpec, RepoSource, hub_cache, is_repo, resolve
from menny.models.hub import Download, Job

ESCAPE_LINE = "\r\033[K"


def get(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A catalogue id, or a repository: owner/name.")],
    revision: Annotated[str | None, typer.Option(help="A commit or branch of it, instead of the catalogue's.")] = None,
) -> None:
    """Get a model from the Hugging Face hub. Stopped by Ctrl-C or a crash, it goes on where it was."""
    spec = _wanted(model)
    if not isinstance(spec.source, RepoSource) or (spec.path() is not None and revision is None):
        typer.echo(f"{spec.name} is here: {spec.present()}.")
        return
    download = Download(Job(spec.source.repo, revision or spec.source.revision, spec.source.into))
    try:
        _watch(download)
    except BaseException:
        download.cancel()
        raise
    download.result()
    typer.echo(f"{spec.name} is here: {spec.source.into}.")


def _wanted(model: str) -> ModelSpec:
    """An entry of the catalogue, or a repository that it doesn't know."""
    try:
        return resolve(model, catalogue()[0])
    except ModelError:
        if not is_repo(model):
            raise
    name = model.split("/")[1]
    source = RepoSource(model, None, hub_cache(), models_folder() / name)
    return replace(ModelSpec(id=model, name=name, source=source), own_places=(source.into,))


def _watch(download: Download) -> None:
    while not (progress := download.wait(0.5)).is_over:
        if sys.stderr.isatty():
            typer.echo(f"{ESCAPE_LINE}{download_text(progress)}", err=True, nl=False)
    if sys.stderr.isatty():
        typer.echo(ESCAPE_LINE, err=True, nl=False)
