"""ModelArgs: the numbers that describe a model, read from a config.json, a params.json or GGUF metadata.

The names are those of the reference implementation's params.json, which MLX's examples keep in their config.json;
`_HUB_KEYS` and `_GGUF_KEYS` say what the others call them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menny.engine.formats.gguf import GGUFFile
from menny.engine.formats.small_files import read_config
from menny.engine.rope import QueryScaling, RopeScaling
from menny.engine.rope_config import rope_from_gguf, rope_from_hub, rope_from_params
from menny.engine.sliding_windows import windows
from menny.errors import ModelError, quoted
from menny.model_files import CONFIG_FILES, MODEL_TYPES, model_type, text_config

DEFAULT_CONTEXT = 32768  # Mistral 7B v0.2 and later; a file that tells another number is believed
DEFAULT_THETA = 1e4  # where a hub's config.json or a GGUF file is silent, as for their other readers
LATER_THETA = 1e6  # the same for Mixtral, and for the reference's models without a window
MOST_LAYERS = 1 << 10  # far above any model, and few enough that a forged number can't exhaust the memory
MOST_EXPERTS = 1 << 10
MOST_WIDTH = 1 << 24  # of any dimension


@dataclass(frozen=True)
class MoEArgs:
    """A mixture of experts, in the reference's names."""

    num_experts: int
    num_experts_per_tok: int  # k: the experts that a token goes through

    def __post_init__(self) -> None:
        if not 1 <= self.num_experts <= MOST_EXPERTS:
            raise ModelError(f"num_experts is {self.num_experts}, but must be from 1 to {MOST_EXPERTS}")
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise ModelError(
                f"num_experts_per_tok is {self.num_experts_per_tok}, but must be from 1 to {self.num_experts}"
            )


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
    rope_scaling: RopeScaling | None = None
    query_scaling: QueryScaling | None = None
    rope_traditional: bool = True  # pairs neighbouring dimensions, as the paper's own weights do; the hub's do not
    sliding_window: int | None = None  # W: a query sees itself and the W-1 positions before it
    tie_word_embeddings: bool = False  # the output projection is the embedding table
    max_position_embeddings: int = DEFAULT_CONTEXT
    moe: MoEArgs | None = None  # None: one dense feed-forward
    windowed_layers: tuple[bool, ...] | None = None  # where the window holds, layer by layer; None: in all

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
        if self.windowed_layers is not None:
            self._check_layers(self.windowed_layers)
        if self.max_position_embeddings < 1:
            raise ModelError(f"max_position_embeddings is {self.max_position_embeddings}, but must be at least 1")
        if self.norm_eps <= 0 or self.rope_theta <= 0:
            raise ModelError("norm_eps and rope_theta must be above 0")
        if self.rope_scaling is not None:
            self._check_scaling(self.rope_scaling)

    def _check_layers(self, windowed: tuple[bool, ...]) -> None:
        if len(windowed) != self.n_layers:
            raise ModelError(f"windowed_layers tells of {len(windowed)} layers, but n_layers is {self.n_layers}")
        if any(windowed) and self.sliding_window is None:
            raise ModelError("windowed_layers names some, but sliding_window doesn't say how far they see")

    def _check_scaling(self, scaling: RopeScaling) -> None:
        if scaling.rope_type == "yarn" and self.rope_theta <= 1:
            raise ModelError(f"rope_theta is {self.rope_theta:g}, but must be above 1 for yarn")
        if scaling.rope_type == "table" and len(scaling.table) != self.head_dim // 2:
            raise ModelError(
                f"rope_freqs has {len(scaling.table)} numbers, but head_dim {self.head_dim} needs half as many"
            )

    def window_of(self, layer: int) -> int | None:
        """The window of this layer, None where it sees everything."""
        return self.sliding_window if self.windowed_layers is None or self.windowed_layers[layer] else None

    @property
    def n_parameters(self) -> int:
        """The number of weights."""
        attention = 2 * self.dim * self.head_dim * (self.n_heads + self.n_kv_heads)
        experts = self.moe.num_experts if self.moe else 1
        gate = self.dim * experts if self.moe else 0
        block = attention + 3 * self.dim * self.hidden_dim * experts + gate + 2 * self.dim
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
    "num_experts": "num_local_experts",
    "num_experts_per_tok": "num_experts_per_tok",
}

_REFERENCE_KEYS = {name: name for name in _HUB_KEYS} | {
    "num_experts": "moe.num_experts",
    "num_experts_per_tok": "moe.num_experts_per_tok",
}

_GGUF_KEYS = {  # behind the architecture's name, save the tensor that vocab_size is read from
    "dim": "embedding_length",
    "n_layers": "block_count",
    "hidden_dim": "feed_forward_length",
    "n_heads": "attention.head_count",
    "n_kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "norm_eps": "attention.layer_norm_rms_epsilon",
    "vocab_size": "token_embd.weight",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
    "max_position_embeddings": "context_length",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
}

_NEEDED = ("dim", "n_layers", "hidden_dim", "n_heads", "norm_eps", "vocab_size")
_OF_EXPERTS = ("num_experts", "num_experts_per_tok")
_FRACTIONS = ("norm_eps", "rope_theta")

_ARCHITECTURES = ("llama", "mistral3")  # GGUF's names; Mistral and Mixtral go by the first too
_BIASES = ("attention_bias", "mlp_bias", "use_biases", "attn_bias")
_OTHER_MODELS = ("multimodal", "lora", "q_lora_rank", "kv_lora_rank")


def args_from_folder(folder: Path, original: bool = False) -> ModelArgs:
    """The args of a model folder, from its config.json or params.json, whichever names these use.

    `original`: the weights go by the reference's names, so its params.json counts where both are there, and rotary
    embeddings pair neighbouring dimensions.
    """
    files = CONFIG_FILES[::-1] if original else CONFIG_FILES
    path = next((folder / name for name in files if (folder / name).is_file()), folder / "config.json")
    config = dict(text_config(read_config(path)) or {})
    if not config:
        raise ModelError(f"{path}: text_config should be an object that describes the text model.", file=path)
    kind = model_type(config)
    if kind not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        raise ModelError(f"{path}: model_type {quoted(kind)} is not one that Menny's engine computes ({known}).")
    _refuse_variants(config, path)
    count = config.get("n_layers", config.get(_HUB_KEYS["n_layers"]))
    config |= windows(config, count if isinstance(count, int) and count <= MOST_LAYERS else None, path)
    traditional = _flag(config, "rope_traditional", path, original)
    if sum(name in config for name in _NEEDED) > sum(_HUB_KEYS[name] in config for name in _NEEDED):
        return _reference_args(config, path, traditional)
    rope = rope_from_hub(config, path)
    if rope.theta is not None:  # as for the hub's own reader, it counts before one outside
        config = config | {"rope_theta": rope.theta}
    sparse = kind == "mixtral" or config.get("num_local_experts") is not None
    return _build(
        config,
        _HUB_KEYS,
        path,
        sparse,
        LATER_THETA if sparse else DEFAULT_THETA,
        rope_traditional=traditional,
        tie_word_embeddings=_flag(config, "tie_word_embeddings", path),
        windowed_layers=config["windowed_layers"],
        rope_scaling=rope.scaling,
        query_scaling=rope.query_scaling,
    )


def _reference_args(config: dict[str, Any], path: Path, traditional: bool) -> ModelArgs:
    """The args in the reference's own names: a params.json, or a config.json of MLX's examples."""
    moe = config.get("moe")
    if moe is not None:
        if not isinstance(moe, dict):
            raise ModelError(f"{path}: moe should be an object with num_experts and num_experts_per_tok")
        for key, value in moe.items():
            if key not in _OF_EXPERTS and value:
                raise ModelError(f"{path}: moe.{key[:60]} is not supported")
        config = config | {f"moe.{key}": value for key, value in moe.items()}
    if config.get("max_position_embeddings") is None:
        config = config | {"max_position_embeddings": config.get("max_seq_len")}
    windowed = config.get("sliding_window") is not None
    tied = _flag(config, "tie_word_embeddings", path) or _flag(config, "tied_embeddings", path)
    theta = DEFAULT_THETA if windowed else LATER_THETA
    rope = rope_from_params(config, path)
    return _build(
        config,
        _REFERENCE_KEYS,
        path,
        moe is not None,
        theta,
        rope_traditional=traditional,
        tie_word_embeddings=tied,
        windowed_layers=config["windowed_layers"],
        rope_scaling=rope.scaling,
        query_scaling=rope.query_scaling,
    )


def args_from_gguf(file: GGUFFile, rope_table: tuple[float, ...] | None = None) -> ModelArgs:
    """The args in a GGUF file's metadata; `rope_table` holds the numbers of its tensor rope_freqs.weight."""
    kind = file.metadata.get("general.architecture")
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ModelError(
            f"{file.path}: architecture {kind if kind is None else str(kind)[:60]!r} "
            f"is not one that Menny's engine computes ({known})."
        )
    embeddings = file.tensors.get("token_embd.weight")
    if embeddings is None:
        raise ModelError(f"{file.path}: the tensor token_embd.weight is missing: get the file again.")
    keys = {name: key if key == "token_embd.weight" else f"{kind}.{key}" for name, key in _GGUF_KEYS.items()}
    window = file.metadata.get(keys["sliding_window"]) or None  # 0: none
    rope = rope_from_gguf(file, kind, rope_table)
    args = _build(
        file.metadata | {"token_embd.weight": embeddings.shape[0], keys["sliding_window"]: window},
        keys,
        file.path,
        bool(file.metadata.get(keys["num_experts"])),
        DEFAULT_THETA,
        rope_traditional=True,
        tie_word_embeddings="output.weight" not in file.tensors,
        rope_scaling=rope.scaling,
        query_scaling=rope.query_scaling,
    )
    rotated = file.metadata.get(f"{kind}.rope.dimension_count", args.head_dim)
    if rotated != args.head_dim:
        raise ModelError(
            f"{file.path}: {kind}.rope.dimension_count is {rotated}, but only {args.head_dim} is supported."
        )
    return args


def _refuse_variants(config: Mapping[str, Any], path: Path) -> None:
    """What would change the maths is refused by name, rather than computed wrongly."""
    if config.get("hidden_act", "silu") != "silu":
        raise ModelError(f"{path}: hidden_act {config['hidden_act']!r} is not supported, only silu")
    for key in _BIASES:
        if config.get(key):
            raise ModelError(f"{path}: {key} is set, but Mistral has no biases")
    for key in _OTHER_MODELS:
        if config.get(key):
            raise ModelError(f"{path}: {key} is set, which is not supported")


def _build(
    config: Mapping[str, Any], keys: Mapping[str, str], path: Path, sparse: bool, theta: float, **others: Any
) -> ModelArgs:
    """The args that a config tells under these keys; errors speak of them by the config's own names."""
    told = {name: key for name, key in keys.items() if config.get(key) is not None}
    needed = _NEEDED + _OF_EXPERTS if sparse else _NEEDED
    if missing := sorted(keys[name] for name in needed if name not in told):
        raise ModelError(f"{path}: needed and missing: {', '.join(missing)}")
    values: dict[str, Any] = {
        name: _number(config, key, path) if name in _FRACTIONS else _whole(config, key, path)
        for name, key in told.items()
        if sparse or name not in _OF_EXPERTS
    }
    experts = {name: values.pop(name) for name in _OF_EXPERTS if sparse}
    values.setdefault("n_kv_heads", values["n_heads"])
    values.setdefault("rope_theta", theta)
    if "head_dim" not in values:
        dim, n_heads = values["dim"], values["n_heads"]
        if n_heads < 1 or dim % n_heads:
            raise ModelError(
                f"{path}: {keys['n_heads']} {n_heads} doesn't divide {keys['dim']} {dim}, and no head_dim is told"
            )
        values["head_dim"] = dim // n_heads
    try:
        return ModelArgs(**values, **others, moe=MoEArgs(**experts) if sparse else None)
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


def _flag(config: Mapping[str, Any], key: str, path: Path, silent: bool = False) -> bool:
    """A truth, `silent` where the config is."""
    value = config.get(key)
    if value is None:
        return silent
    if isinstance(value, bool):
        return value
    raise ModelError(f"{path}: {key} should be true or false, but is {str(value)[:60]!r}")
