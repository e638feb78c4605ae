"""The command that downloads a model: get."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from menny.cli.common import catalogue
from menny.cli.status_line import show_status
from menny.cli.tables import download_text
from menny.config.paths import models_folder
from menny.errors import ModelError
from menny.models.catalogue import ModelSpec, RepoSource, hub_cache, is_repo, resolve
from menny.models.hub import Download, Job


def get(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A catalogue id, or a repository: owner/name.")],
    revision: Annotated[str | None, typer.Option(help="A commit or branch, instead of the catalogue's.")] = None,
    file: Annotated[str | None, typer.Option(help="One of the repository's .gguf files.")] = None,
) -> None:
    """Download a model from the Hugging Face hub. An interrupted download is resumed."""
    spec = _find(model, file)
    if not isinstance(spec.source, RepoSource) or (spec.path() is not None and revision is None):
        typer.echo(f"{spec.name} is here: {spec.present()}")
        return
    source = spec.source
    download = Download(Job(source.repo, revision or source.revision, source.into, file or source.file))
    try:
        _watch(download)
    except BaseException:
        download.cancel()
        raise
    download.result()
    typer.echo(f"{spec.name} is here: {source.into}")


def _find(model: str, file: str | None) -> ModelSpec:
    """Find an entry of the catalogue, or make one for a repository that it lacks, or for a file of one."""
    try:
        if not file:
            return resolve(model, catalogue()[0])
    except ModelError:
        if not is_repo(model):
            raise
    if not is_repo(model):
        raise ModelError("--file is one of a repository's files: give the repository too, as owner/name.")
    name = Path(file).stem if file else model.split("/")[1]
    source = RepoSource(model, None, hub_cache(), models_folder() / name, file)
    return replace(ModelSpec(id=model, name=name, source=source), own_places=(source.into,))


def _watch(download: Download) -> None:
    while not (progress := download.wait(0.5)).is_over:
        show_status(download_text(progress))
    show_status("")
