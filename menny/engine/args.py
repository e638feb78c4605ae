"""ModelArgs: the numbers that describe a model, read from a hub's config.json or from GGUF metadata.

The names are those of the reference implementation's params.json; `_HUB_KEYS` and `_GGUF_KEYS` say what the others
call them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menny.engine.gguf import GGUFFile
from menny.errors import ModelError

DEFAULT_CONTEXT = 32768  # Mistral 7B v0.2 and later; a file that tells another number is believed
DEFAULT_THETA = 1e4  # where a hub's config.json or a GGUF file is silent, as for their other readers
MOST_LAYERS = 1 << 10  # far above any model, and few enough that a forged number can't exhaust the memory
MOST_WIDTH = 1 << 24  # of any dimension


@dataclass(frozen=True)
class ModelArgs:
    """A Mistral's shape. Llama-shaped models are Mistrals without a window."""

    dim: int
    n_layers: int
    head_dim: int
    hidden_dim: int
    n_heads: int
    n_kv_heads: int
    norm_eps: float
    vocab_size: int
    rope_theta: float = 10000.0
    rope_traditional: bool = True  # pairs neighbouring dimensions, as the paper's own weights do; the hub's do not
    sliding_window: int | None = None  # W: a query sees itself and the W-1 positions before it
    tie_word_embeddings: bool = False  # the output projection is the embedding table
    max_position_embeddings: int = DEFAULT_CONTEXT

    def __post_init__(self) -> None:
        for name in ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "vocab_size"):
            value, most = getattr(self, name), MOST_LAYERS if name == "n_layers" else MOST_WIDTH
            if not 1 <= value <= most:
                raise ModelError(f"{name} is {value}, but must be from 1 to {most}")
        if self.n_heads * self.head_dim > MOST_WIDTH:
            raise ModelError(f"{self.n_heads} heads of {self.head_dim} dimensions are more than a model can have")
        if self.n_heads % self.n_kv_heads:
            raise ModelError(f"{self.n_heads} heads can't share {self.n_kv_heads} KV heads evenly")
        if self.head_dim % 2:
            raise ModelError(f"head_dim is {self.head_dim}, but rotary embeddings need an even number")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ModelError(f"sliding_window is {self.sliding_window}, but must be at least 1, or null for none")
        if self.max_position_embeddings < 1:
            raise ModelError(f"max_position_embeddings is {self.max_position_embeddings}, but must be at least 1")
        if self.norm_eps <= 0 or self.rope_theta <= 0:
            raise ModelError("norm_eps and rope_theta must be above 0")

    @property
    def n_parameters(self) -> int:
        """The number of weights."""
        attention = 2 * self.dim * self.head_dim * (self.n_heads + self.n_kv_heads)
        block = attention + 3 * self.dim * self.hidden_dim + 2 * self.dim
        tables = self.dim * self.vocab_size * (1 if self.tie_word_embeddings else 2)
        return self.n_layers * block + tables + self.dim


_HUB_KEYS = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "norm_eps": "rms_norm_eps",
    "vocab_size": "vocab_size",
    "rope_theta": "rope_theta",
    "sliding_window": "sliding_window",
    "max_position_embeddings": "max_position_embeddings",
}

_GGUF_KEYS = {
    "dim": "llama.embedding_length",
    "n_layers": "llama.block_count",
    "hidden_dim": "llama.feed_forward_length",
    "n_heads": "llama.attention.head_count",
    "n_kv_heads": "llama.attention.head_count_kv",
    "head_dim": "llama.attention.key_length",
    "norm_eps": "llama.attention.layer_norm_rms_epsilon",
    "vocab_size": "token_embd.weight",
    "rope_theta": "llama.rope.freq_base",
    "sliding_window": "llama.attention.sliding_window",
    "max_position_embeddings": "llama.context_length",
}

_NEEDED = ("dim", "n_layers", "hidden_dim", "n_heads", "norm_eps", "vocab_size")
_FRACTIONS = ("norm_eps", "rope_theta")

_HUB_TYPES = ("mistral", "llama")


def read_json(path: Path) -> dict[str, Any]:
    """A model folder's JSON object; ModelError names the file."""
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: get the whole model folder") from None
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not a readable JSON file ({error}): get it again") from error
    if not isinstance(loaded, dict):
        raise ModelError(f"{path} should hold a JSON object, but holds a {type(loaded).__name__}")
    return loaded


def args_from_folder(folder: Path) -> ModelArgs:
    """The args of a hub-style folder, from its config.json."""
    path = folder / "config.json"
    config = read_json(path)
    kind = config.get("model_type", "mistral")
    if kind not in _HUB_TYPES:
        known = ", ".join(_HUB_TYPES)
        raise ModelError(f"{path}: model_type {kind!r} is not one that Menny's engine computes ({known})")
    _refuse_variants(config, path)
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and config.get("rope_theta") is None:
        config = config | {"rope_theta": rope.get("rope_theta")}
    return _build(
        config,
        _HUB_KEYS,
        path,
        rope_traditional=_flag(config, "rope_traditional", path),
        tie_word_embeddings=_flag(config, "tie_word_embeddings", path),
    )


def args_from_gguf(file: GGUFFile) -> ModelArgs:
    """The args in a GGUF file's metadata."""
    kind = file.metadata.get("general.architecture")
    if kind != "llama":  # Mistral and Mixtral go by that name too
        raise ModelError(f"{file.path}: architecture {kind!r} is not one that Menny's engine computes (llama)")
    scaling = file.metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise ModelError(f"{file.path}: rope.scaling.type {scaling!r} is not supported")
    embeddings = file.tensors.get("token_embd.weight")
    if embeddings is None:
        raise ModelError(f"{file.path}: the tensor token_embd.weight is missing: get the file again")
    window = file.metadata.get("llama.attention.sliding_window") or None  # 0: none
    args = _build(
        file.metadata | {"token_embd.weight": embeddings.shape[0], "llama.attention.sliding_window": window},
        _GGUF_KEYS,
        file.path,
        rope_traditional=True,
        tie_word_embeddings="output.weight" not in file.tensors,
    )
    rotated = file.metadata.get("llama.rope.dimension_count", args.head_dim)
    if rotated != args.head_dim:
        raise ModelError(f"{file.path}: llama.rope.dimension_count is {rotated}, but only {args.head_dim} is supported")
    return args


def _refuse_variants(config: Mapping[str, Any], path: Path) -> None:
    """What would change the maths is refused by name, rather than computed wrongly."""
    if config.get("hidden_act", "silu") != "silu":
        raise ModelError(f"{path}: hidden_act {config['hidden_act']!r} is not supported, only silu")
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key):
            raise ModelError(f"{path}: {key} is set, but Mistral has no biases")
    for key in ("rope_scaling", "rope_parameters"):
        scaling = config.get(key)
        kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else scaling
        if kind not in (None, "default"):
            raise ModelError(f"{path}: {key} of type {kind!r} is not supported")


def _build(config: Mapping[str, Any], keys: Mapping[str, str], path: Path, **others: bool) -> ModelArgs:
    """The args that a config tells under these keys; errors speak of them by the config's own names."""
    told = {name: key for name, key in keys.items() if config.get(key) is not None}
    missing = sorted(keys[name] for name in _NEEDED if name not in told)
    if missing:
        raise ModelError(f"{path}: needed and missing: {', '.join(missing)}")
    values: dict[str, Any] = {
        name: _number(config, key, path) if name in _FRACTIONS else _whole(config, key, path)
        for name, key in told.items()
    }
    values.setdefault("n_kv_heads", values["n_heads"])
    values.setdefault("rope_theta", DEFAULT_THETA)
    if "head_dim" not in values:
        dim, n_heads = values["dim"], values["n_heads"]
        if n_heads < 1 or dim % n_heads:
            raise ModelError(
                f"{path}: {keys['n_heads']} {n_heads} doesn't divide {keys['dim']} {dim}, and no head_dim is told"
            )
        values["head_dim"] = dim // n_heads
    try:
        return ModelArgs(**values, **others)
    except ModelError as error:
        raise ModelError(f"{path}: {_in_its_words(str(error), keys)}") from None


def _in_its_words(sentence: str, keys: Mapping[str, str]) -> str:
    """A sentence of ModelArgs with the names that the config uses."""
    return " ".join(keys.get(word, word) for word in sentence.split(" "))


def _number(config: Mapping[str, Any], key: str, path: Path) -> float:
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ModelError(f"{path}: {key} should be a number, but is {str(value)[:60]!r}")
    return value


def _whole(config: Mapping[str, Any], key: str, path: Path) -> int:
    value = _number(config, key, path)
    if value != int(value):
        raise ModelError(f"{path}: {key} is {value}, but must be a whole number")
    return int(value)


def _flag(config: Mapping[str, Any], key: str, path: Path) -> bool:
    """A truth, false where the config is silent."""
    value = config.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ModelError(f"{path}: {key} should be true or false, but is {str(value)[:60]!r}")
