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
            if getattr(self, name) < 1:
                raise ModelError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.n_heads % self.n_kv_heads:
            raise ModelError(f"{self.n_heads} heads can't share {self.n_kv_heads} KV heads evenly")
        if self.head_dim % 2:
            raise ModelError(f"head_dim is {self.head_dim}, but rotary embeddings need an even number")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ModelError(f"sliding_window is {self.sliding_window}, but must be at least 1, or null for none")
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
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "rms_norm_eps": "norm_eps",
    "vocab_size": "vocab_size",
}

_GGUF_KEYS = {
    "embedding_length": "dim",
    "block_count": "n_layers",
    "feed_forward_length": "hidden_dim",
    "attention.head_count": "n_heads",
    "attention.head_count_kv": "n_kv_heads",
    "attention.layer_norm_rms_epsilon": "norm_eps",
}

_DEFAULT_HUB_TYPES = ("mistral", "llama")


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
    if kind not in _DEFAULT_HUB_TYPES:
        known = ", ".join(_DEFAULT_HUB_TYPES)
        raise ModelError(f"{path}: model_type {kind!r} is not one that Menny's engine computes ({known})")
    _refuse_variants(config, path)
    values = {ours: _number(config, theirs, path) for theirs, ours in _HUB_KEYS.items() if theirs in config}
    values.setdefault("n_kv_heads", values.get("n_heads", 1))
    _require(values, set(_HUB_KEYS.values()), {v: k for k, v in _HUB_KEYS.items()}, path)
    head_dim = config.get("head_dim")
    window = config.get("sliding_window")
    rope = config.get("rope_parameters") or {}
    theta = config.get("rope_theta", rope.get("rope_theta") if isinstance(rope, dict) else None)
    return _build(
        path,
        values,
        head_dim=_whole({"head_dim": head_dim}, "head_dim", path) if head_dim is not None else None,
        rope_theta=_number({"rope_theta": theta}, "rope_theta", path) if theta is not None else 1e4 if window else 1e6,
        rope_traditional=False,
        sliding_window=_whole(config, "sliding_window", path) if window is not None else None,
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        max_position_embeddings=_context(config, "max_position_embeddings", path),
    )


def args_from_gguf(file: GGUFFile) -> ModelArgs:
    """The args in a GGUF file's metadata."""
    kind = file.metadata.get("general.architecture")
    if kind != "llama":  # Mistral and Mixtral go by that name too
        raise ModelError(f"{file.path}: architecture {kind!r} is not one that Menny's engine computes (llama)")
    config = {key.removeprefix("llama."): value for key, value in file.metadata.items() if key.startswith("llama.")}
    if config.get("rope.scaling.type", "none") != "none":
        raise ModelError(f"{file.path}: rope.scaling.type {config['rope.scaling.type']!r} is not supported")
    values = {ours: _number(config, theirs, file.path) for theirs, ours in _GGUF_KEYS.items() if theirs in config}
    values.setdefault("n_kv_heads", values.get("n_heads", 1))
    _require(values, set(_GGUF_KEYS.values()), {v: f"llama.{k}" for k, v in _GGUF_KEYS.items()}, file.path)
    embeddings = file.tensors.get("token_embd.weight")
    if embeddings is None:
        raise ModelError(f"{file.path}: the tensor token_embd.weight is missing: get the file again")
    values["vocab_size"] = embeddings.shape[0]
    window = config.get("attention.sliding_window")
    return _build(
        file.path,
        values,
        head_dim=_whole(config, "attention.key_length", file.path) if "attention.key_length" in config else None,
        rope_theta=_number(config, "rope.freq_base", file.path) if "rope.freq_base" in config else 1e4,
        rope_traditional=True,
        sliding_window=_whole(config, "attention.sliding_window", file.path) if window else None,
        tie_word_embeddings="output.weight" not in file.tensors,
        max_position_embeddings=_context(config, "context_length", file.path),
    )


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


def _require(values: Mapping[str, Any], needed: set[str], names: Mapping[str, str], path: Path) -> None:
    missing = sorted(names[name] for name in needed - set(values))
    if missing:
        raise ModelError(f"{path}: needed and missing: {', '.join(missing)}")


def _build(path: Path, values: dict[str, Any], head_dim: int | None, **others: Any) -> ModelArgs:
    whole = {name: value for name, value in values.items() if name != "norm_eps"}
    for name, value in whole.items():
        if value != int(value):
            raise ModelError(f"{path}: {name} is {value}, but must be a whole number")
    whole = {name: int(value) for name, value in whole.items()}
    if head_dim is None:
        if whole["n_heads"] < 1 or whole["dim"] % whole["n_heads"]:
            raise ModelError(
                f"{path}: {whole['n_heads']} heads don't divide dim {whole['dim']}, and no head_dim is told"
            )
        head_dim = whole["dim"] // whole["n_heads"]
    try:
        return ModelArgs(head_dim=head_dim, norm_eps=float(values["norm_eps"]), **whole, **others)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


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


def _context(config: Mapping[str, Any], key: str, path: Path) -> int:
    return max(1, _whole(config, key, path)) if config.get(key) is not None else DEFAULT_CONTEXT
