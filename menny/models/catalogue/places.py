"""The places of models on this machine: each either holds a whole model or doesn't."""

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from menny.errors import ModelError
from menny.model_files import CONFIG_FILES, MAX_CONFIG_BYTES, find_model, find_weights, is_computed, parse_json

MAX_REPO_NAME = 96

_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
_REPO = re.compile(r"(?!.*(--|\.\.|\.git$))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)


@dataclass(frozen=True)
class PackageSource:
    """A file within an installed Python package, which is found and never imported."""

    package: str
    file: str

    def places(self) -> Iterator[Path]:
        """Yield the file's path."""
        try:
            spec = importlib.util.find_spec(self.package)
        except ValueError:  # a module that was made in another way than by import
            return
        for folder in (spec and spec.submodule_search_locations) or ():
            yield Path(folder) / self.file


@dataclass(frozen=True)
class RepoSource:
    """A repository of the hub, which may lie in the hub's cache."""

    repo: str
    revision: str | None
    cache: Path
    into: Path  # where a download of the user's own should go
    file: str | None = None  # which of the repository's .gguf files; None: it holds one model

    def places(self) -> Iterator[Path]:
        """The cached snapshot, whole or not, or the .gguf file in it."""
        names = (self.file,) if self.file else CONFIG_FILES
        for name in names if is_repo(self.repo) else ():
            found = try_to_load_from_cache(self.repo, name, cache_dir=self.cache, revision=self.revision)
            if isinstance(found, str):
                yield Path(found) if self.file else Path(found).parent


@dataclass(frozen=True)
class PathSource:
    """A folder or .gguf file of the user's own."""

    at: Path

    def places(self) -> Iterator[Path]:
        """The path itself."""
        yield self.at


@dataclass(frozen=True)
class ServerSource:
    """A model on an OpenAI-compatible server."""

    address: str
    served: str | None  # the server's name of it; None: the first that it lists
    key: str | None  # the environment variable that holds the server's key
    template: str | None = None  # the model's own, for a server that can only continue a text

    def places(self) -> Iterator[Path]:
        """None: it lies on no disk of this machine."""
        return iter(())


def is_repo(name: str) -> bool:
    """Return true for a name that a repository can have, owner/name: huggingface_hub raises for any other."""
    return bool(_REPO.fullmatch(name)) and len(name) <= MAX_REPO_NAME


def is_address(text: str) -> bool:
    """Return true for what looks like a server's address, without a name and password in it."""
    return bool(_ADDRESS.fullmatch(text))


def model_at(place: Path) -> Path:
    """The folder or .gguf file to load at this place; raises ModelError that says what it lacks."""
    if os.path.isfile(place):
        if place.suffix.lower() != ".gguf":
            raise ModelError(f"{place} is not a model: give its folder, or a .gguf file.")
        return place
    if not os.path.isdir(place):
        raise ModelError(f"There is no model at {place}: check the path, or put its folder or .gguf file there.")
    model = find_model(place)
    if model == place:
        find_weights(place)
    return model


def hub_cache() -> Path:
    """The folder for huggingface_hub's downloads, by the environment as it is now."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(os.path.expanduser(folder))
    if folder := os.environ.get("HF_HOME"):
        return Path(os.path.expanduser(folder)) / "hub"
    return Path(constants.HF_HUB_CACHE)


def cached_repos(cache: Path) -> Iterator[str]:
    """The repositories in the hub's cache that hold a whole model of a kind that the engine computes."""
    try:
        folders = sorted(cache.glob("models--*--*"))
    except OSError:
        return
    for folder in folders:
        _, owner, *names = folder.name.split("--")
        repo = f"{owner}/{'--'.join(names)}"
        for place in RepoSource(repo, None, cache, cache).places():
            if _is_computed(place):
                yield repo
                break


def _is_computed(place: Path) -> bool:
    try:
        folder = model_at(place)
        config = next(folder / name for name in CONFIG_FILES if os.path.isfile(folder / name))
        return config.stat().st_size <= MAX_CONFIG_BYTES and is_computed(parse_json(config.read_bytes()))
    except (ModelError, OSError, ValueError, StopIteration):
        return False
