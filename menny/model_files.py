"""Which files make a model: one list for the catalogue, the hub's downloads and the engine. Free of MLX.

A model is a .gguf file, or a folder that has a config and weights. Its weights are the files that an index names, else
those of the first pattern that any file fits.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from menny.errors import ModelError

CONFIG_FILES = ("config.json", "params.json")
INDEX_FILES = ("model.safetensors.index.json", "consolidated.safetensors.index.json")
WEIGHT_PATTERNS = (
    "model*.safetensors",
    "weights*.safetensors",
    "weights*.npz",
    "consolidated*.safetensors",
    "consolidated*.pth",
    "consolidated*.pt",
)
MODEL_TYPES = ("mistral", "ministral", "ministral3", "mixtral", "llama", "transformer")  # the last is the reference's
NESTING_TYPES = ("mistral3",)  # the text model is described under text_config, beside a vision tower

MAX_CONFIG_BYTES = 4 << 20
MAX_INDEX_BYTES = 16 << 20
MAX_JSON_VALUES = 1 << 22  # twice those of the largest vocabularies; each may take 70 bytes in memory
MAX_PARTS = 1 << 10  # of a split GGUF
MAX_NAME = 255  # characters of a file's name

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.\w+)")
_SIZES = (("num_hidden_layers", "hidden_size"), ("n_layers", "dim"))  # in the hub's names and in the reference's


@dataclass(frozen=True)
class WeightFiles:
    """The weight files of a model by name, sorted; the first of them that isn't there, and the index that lists it."""

    names: tuple[str, ...] = ()
    missing: str | None = None
    index: str | None = None

    @property
    def lack(self) -> str:
        """The missing file for a sentence."""
        return f"{self.missing}, which {self.index} lists" if self.index else str(self.missing)


def parse_json(data: bytes) -> Any:
    """Return the JSON value in UTF-8 or, with a byte order mark, UTF-16 or UTF-32.

    Raises ValueError with a reason for text that isn't JSON, and before parsing where it holds too many values.
    """
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise ValueError("it holds more values than such a file can have")
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} is not JSON ({error.msg}); it may be cut short") from error
    except (RecursionError, ValueError) as error:
        raise ValueError("its JSON is nested too deeply or holds an impossible number") from error


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the description of the text model: within text_config where there is a vision tower beside it.

    None where text_config should be an object and isn't.
    """
    if "text_config" not in config and config.get("model_type") not in NESTING_TYPES:
        return config
    text = config.get("text_config")
    if not isinstance(text, dict):
        return None
    described = {"model_type": "mistral"} | {key: value for key, value in text.items() if value is not None}
    if config.get("tie_word_embeddings"):  # for the whole, and so for its text model
        described["tie_word_embeddings"] = config["tie_word_embeddings"]
    return described


def model_type(config: Mapping[str, Any]) -> Any:
    """Return the kind of model that a config describes, by its architecture where it has no model_type.

    A config with neither describes a Mistral: the reference's params.json has no such key.
    """
    if (kind := config.get("model_type")) is not None:
        return kind
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else named
    return str(first)[:MAX_NAME].removesuffix("ForCausalLM").lower() if first else "mistral"


def is_computed(config: object) -> bool:
    """Return True for the config of a model that Menny's engine computes, judged by type and sizes."""
    if not isinstance(config, dict) or (config := text_config(config)) is None:
        return False
    names_itself = any(config.get(key) for key in ("model_type", "architectures"))
    return model_type(config) in MODEL_TYPES and (
        names_itself or any(all(key in config for key in keys) for keys in _SIZES)
    )


def parse_index(data: bytes) -> list[str]:
    """Return the names of the weight files that an index lists, sorted. Raises ValueError with a reason."""
    index = parse_json(data)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(n, str) for n in weight_map.values()):
        raise ValueError("weight_map should say which file holds each tensor")
    names = sorted(set(weight_map.values()))
    for name in names:
        inside = Path(name).name == name and "\\" not in name and name.isprintable() and len(name) <= MAX_NAME
        if not inside or not name.endswith(".safetensors"):
            raise ValueError(f"it names {name[:200]!r}, which is not a .safetensors file of this folder")
    return names


def choose_weights(names: Collection[str], read_index: Callable[[str], list[str]]) -> WeightFiles:
    """Return the weight files among these names; no names where there are none.

    `read_index` returns the files that an index lists. An index whose files aren't all there may be left from an older
    version: where the weights are whole without it, it is passed over.
    """
    incomplete = []
    for index in INDEX_FILES:
        if index in names:
            listed = read_index(index)
            missing = next((name for name in listed if name not in names), None)
            if missing is None:
                return WeightFiles(tuple(listed))
            incomplete.append(WeightFiles(tuple(listed), missing, index))
    if not incomplete:
        return _matching(names)
    others = _matching(set(names).difference(*(weights.names for weights in incomplete)), is_whole=True)
    return others if others.names else incomplete[0]


def find_weights(folder: Path) -> list[Path]:
    """Return the weight files of a folder. Raises ModelError where there are none, or one is missing."""
    weights = choose_weights(_names(folder), lambda name: _read_index(folder / name))
    if not weights.names:
        raise ModelError(f"{folder} lacks weights, such as model.safetensors: get the rest of the model.", file=folder)
    if weights.missing:
        raise ModelError(f"{folder} lacks {weights.lack}: get the rest of the model.", file=folder)
    return [folder / name for name in weights.names]


def find_model(path: Path) -> Path:
    """Return what to load at a path: a file or a folder with config and weights as it is, else its only .gguf file.

    Of a .gguf that is split into several files it is the first. Raises ModelError where another of them is missing,
    and for a folder that holds several .gguf models, or neither a config nor a .gguf file.
    """
    if not os.path.isdir(path):
        return gguf_parts(path)[0]
    names = _names(path)
    has_config = any(name in names for name in CONFIG_FILES)
    if has_config and any(is_weights(name) or name in INDEX_FILES for name in names):
        return path
    ggufs = [name for name in sorted(names) if is_gguf(name)]
    models = {(shard["stem"], shard["count"]) if (shard := _SHARD.fullmatch(name)) else name for name in ggufs}
    if len(models) > 1:
        raise ModelError(f"{path} holds {len(models)} .gguf models: give one of them, such as {path / ggufs[0]}.")
    if not ggufs and not has_config:
        raise ModelError(f"{path} is not a model: it has neither config.json nor a .gguf file.", file=path)
    return gguf_parts(path / ggufs[0])[0] if ggufs else path


def is_gguf(name: str) -> bool:
    """Return True for the name of a GGUF file of a language model: a vision projector's begins with mmproj."""
    return name.lower().endswith(".gguf") and not name.lower().startswith("mmproj")


def gguf_sets(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the files of each .gguf model, by the first of them; of a split one all that its names tell of."""
    sets: dict[str, tuple[str, ...]] = {}
    for name in sorted(filter(is_gguf, names)):
        shard = _SHARD.fullmatch(name)
        count = int(shard["count"]) if shard else 0
        if shard is None or not 1 <= count <= MAX_PARTS:
            sets[name] = (name,)
            continue
        parts = tuple(f"{shard['stem']}-{i:05}-of-{count:05}{shard['ending']}" for i in range(1, count + 1))
        sets[parts[0]] = parts
    return sets


def gguf_parts(path: Path) -> list[Path]:
    """Return the files of a GGUF, which may be split into NAME-00001-of-00003.gguf and so on, by any of them.

    Raises ModelError that names a missing one.
    """
    shard = _SHARD.fullmatch(path.name)
    if shard is None or shard["ending"].lower() != ".gguf":
        return [path]
    count, number = int(shard["count"]), int(shard["number"])
    if not 1 <= number <= count <= MAX_PARTS:
        raise ModelError(f"{path} has no possible number of parts in its name: download the model again.", file=path)
    parts = [path.with_name(f"{shard['stem']}-{i:05}-of-{count:05}{shard['ending']}") for i in range(1, count + 1)]
    if missing := [part for part in parts if not os.path.isfile(part)]:
        raise ModelError(f"{missing[0]} is missing: the model is split into {count} files, get all of them.", file=path)
    return parts


def is_weights(name: str) -> bool:
    """Return True for the name of a weight file in a model folder."""
    return any(fnmatchcase(name, pattern) for pattern in WEIGHT_PATTERNS)


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if os.path.isfile(path)}
    except OSError as error:
        raise ModelError(f"{folder} can't be read ({error.strerror}).", file=folder) from error


def _read_index(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError("it is too large to be an index")
        return parse_index(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} can't be read ({error.strerror}).", file=path) from error
    except ValueError as error:
        raise ModelError(f"{path} can't be used: {error}. Download it again.", file=path) from error


def _matching(names: Iterable[str], is_whole: bool = False) -> WeightFiles:
    """Return the files of the first pattern that any of the names fits; `is_whole`: that has a whole set of files."""
    names = sorted(names)
    for pattern in WEIGHT_PATTERNS:
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        weights = _one_set(fitting, pattern.replace("*", "")) if fitting else WeightFiles()
        if weights.names and not (is_whole and (weights.missing or _is_odd(weights, pattern))):
            return weights
    return WeightFiles()


def _is_odd(weights: WeightFiles, pattern: str) -> bool:
    """Return True for files that share a pattern with those of an index, but neither its name nor its numbering."""
    indexed = f"{pattern.replace('*', '')}.index.json" in INDEX_FILES
    return indexed and not all(_SHARD.fullmatch(name) or name == pattern.replace("*", "") for name in weights.names)


def _one_set(names: list[str], whole: str) -> WeightFiles:
    """Return one set of these files, which may lie side by side: the whole in one file, or shards of one numbering."""
    sets: dict[tuple[str, str, int], list[str]] = {}
    for name in names:
        if shard := _SHARD.fullmatch(name):
            sets.setdefault((shard["stem"], shard["ending"], int(shard["count"])), []).append(name)
    if not sets:
        return WeightFiles(tuple(names))
    if whole in names:
        return WeightFiles((whole,))
    numbered = {key: WeightFiles(tuple(found), _gap(found, *key)) for key, found in sets.items()}
    return next((one for one in numbered.values() if one.missing is None), next(iter(numbered.values())))


def _gap(found: list[str], stem: str, ending: str, count: int) -> str | None:
    """Return the first shard that is missing by the numbers of those that are there."""
    numbers = (f"{stem}-{number:05}-of-{count:05}{ending}" for number in range(1, count + 1))
    return next((name for name in numbers if name not in found), None)
