"""Where a model may lie on this machine: a place on the disk either holds a whole model or it doesn't."""

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from menny.errors import ModelError

CONFIG_FILES = ("config.json", "params.json")
WEIGHT_FILES = ("*.safetensors", "weights*.npz", "consolidated*.pth", "consolidated*.pt")
INDEX_FILES = ("model.safetensors.index.json", "consolidated.safetensors.index.json")
MAX_INDEX_BYTES = 16 * 1024 * 1024
MAX_CONFIG_BYTES = 1024 * 1024
MAX_REPO_NAME = 96
COMPUTED_TYPES = ("mistral", "mixtral", "llama")  # the model_types of a config.json that make up Menny's own kind

_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
_REPO = re.compile(r"(?!.*(--|\.\.|\.git$))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.\w+)")


@dataclass(frozen=True)
class PackageSource:
    """A file within an installed Python package, which is found and never imported."""

    package: str
    file: str

    def places(self) -> Iterator[Path]:
        """Where the file lies."""
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

    def places(self) -> Iterator[Path]:
        """The cached snapshot, whole or not."""
        for name in CONFIG_FILES if is_repo(self.repo) else ():
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
class ServerSource:
    """A model on an OpenAI-compatible server."""

    address: str
    served: str | None  # the server's name of it; None: the first that it lists
    key: str | None  # the environment variable that holds the server's key

    def places(self) -> Iterator[Path]:
        """None: it lies on no disk of this machine."""
        return iter(())


def is_repo(name: str) -> bool:
    """Whether the hub could have a repository of this name, owner/name: huggingface_hub raises for any other."""
    return bool(_REPO.fullmatch(name)) and len(name) <= MAX_REPO_NAME


def is_address(text: str) -> bool:
    """Whether it looks like a server's address, without a name and password in it."""
    return bool(_ADDRESS.fullmatch(text))


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
        config = model_at(place) / "config.json"
        if config.stat().st_size > MAX_CONFIG_BYTES:
            return False
        return json.loads(config.read_bytes()).get("model_type") in COMPUTED_TYPES
    except (ModelError, OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


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
