"""Rotary scalings as configs describe them: the hub's `rope_parameters`, the reference's `yarn`, GGUF's metadata."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from menny.engine.formats.gguf import GGUFFile
from menny.engine.rope import QueryScaling, RopeScaling, yarn_attention_factor
from menny.errors import ModelError

HUB_KEYS = ("rope_parameters", "rope_scaling")  # the first that is an object counts
MAX_TABLE = 1 << 16
ORIGINAL = "original_max_position_embeddings"


class Rope(NamedTuple):
    """The scalings of a model's rotations and queries, and the theta that stands among them."""

    scaling: RopeScaling | None = None
    query_scaling: QueryScaling | None = None
    theta: float | None = None


def rope_from_hub(config: Mapping[str, Any], path: Path) -> Rope:
    """The scalings in a config.json. ModelError names a type that the engine doesn't compute, and what is missing."""
    for key in HUB_KEYS:
        value = config.get(key)
        if value is not None and not isinstance(value, dict):
            raise ModelError(f"{path}: {key} should be an object, but is {str(value)[:60]!r}.")
    key = next((key for key in HUB_KEYS if config.get(key)), HUB_KEYS[0])
    values = dict(config.get(key) or {})
    if config.get("model_type") == "ministral3" and not values:  # whose readers would each take numbers of their own
        raise ModelError(f"{path}: {key} is missing, so the rotations can't be computed.")
    if values and config.get(ORIGINAL) is not None:  # as for the hub's own reader, it counts before one inside
        values[ORIGINAL] = config[ORIGINAL]
    rope = _Section(values, f"{key}.", path)
    for part in (config, rope.values):
        if part.get("partial_rotary_factor", 1) not in (None, 1):
            raise ModelError(f"{path}: partial_rotary_factor is set, but Mistral turns every dimension.")
    if any(isinstance(value, dict) for value in rope.values.values()):
        raise ModelError(f"{path}: {key} differs from layer to layer, which is not supported.")
    theta = rope.number("rope_theta", None)
    for name in ("rope_type", "type"):
        if not isinstance(rope.values.get(name), str | None):
            raise ModelError(f"{path}: {key}.{name} should be a word, but is {str(rope.values[name])[:60]!r}.")
    kinds = {kind for name in ("rope_type", "type") if (kind := rope.values.get(name)) not in (None, "default")}
    if not kinds and rope.values.get("factor") not in (None, 1):
        raise ModelError(f"{path}: {key} has a factor but no rope_type, so it is unclear what it scales.")
    kind = kinds.pop() if len(kinds) == 1 else None if not kinds else sorted(map(str, kinds))
    query = _query_scaling(rope, "llama_4_scaling_beta")
    match kind:
        case None:
            return Rope(None, query, theta)
        case "linear":
            return Rope(RopeScaling("linear", rope.number("factor")), query, theta)
        case "table":  # Menny's own, of a converted GGUF
            return Rope(RopeScaling("table", table=_table(rope)), query, theta)
        case "llama3":
            return Rope(_llama3(rope), query, theta)
        case "yarn":
            return Rope(_hub_yarn(rope), query, theta)
    raise ModelError(f"{path}: {key} of type {str(kind)[:60]!r} is not supported, only linear, llama3 and yarn.")


def rope_from_params(config: Mapping[str, Any], path: Path) -> Rope:
    """The scalings in the reference's params.json: `yarn` and `llama_4_scaling`."""
    query = None
    if (value := config.get("llama_4_scaling")) is not None:
        query = _query_scaling(_Section.of(value, "llama_4_scaling", path), "beta")
    if (value := config.get("yarn")) is None:
        rope = rope_from_hub(config, path)  # folders of MLX's examples may have the hub's words
        return rope._replace(query_scaling=query or rope.query_scaling)
    yarn = _Section.of(value, "yarn", path)
    factor = yarn.number("factor")
    applies = yarn.values.get("apply_scale", True)
    if not isinstance(applies, bool):
        raise ModelError(f"{path}: yarn.apply_scale should be true or false, but is {str(applies)[:60]!r}.")
    return Rope(
        RopeScaling(
            "yarn",
            factor,
            yarn.whole(ORIGINAL),
            beta_fast=yarn.number("beta", 32.0),
            beta_slow=yarn.number("alpha", 1.0),
            attention_factor=yarn_attention_factor(factor) if applies else 1.0,
        ),
        query,
    )


def rope_to_hub(theta: float, scaling: RopeScaling | None, query: QueryScaling | None) -> dict[str, Any]:
    """The `rope_parameters` of a config.json; empty where nothing is scaled."""
    if scaling is None and query is None:
        return {}
    values: dict[str, Any] = {"rope_type": scaling.rope_type if scaling else "default", "rope_theta": theta}
    match scaling and scaling.rope_type:
        case "linear":
            values |= _fields(scaling, "factor")
        case "llama3":
            values |= _fields(scaling, "factor", ORIGINAL, "low_freq_factor", "high_freq_factor")
        case "yarn":
            values |= _fields(scaling, "factor", ORIGINAL, "beta_fast", "beta_slow", "truncate", "attention_factor")
        case "table":
            values |= {"table": list(scaling.table) if scaling else []}
    if query:
        values |= {"llama_4_scaling_beta": query.beta, ORIGINAL: query.original_max_position_embeddings}
    return values


def _fields(scaling: RopeScaling | None, *names: str) -> dict[str, Any]:
    return {name: getattr(scaling, name) for name in names}


def _table(rope: "_Section") -> tuple[float, ...]:
    values = rope.values.get("table")
    if not isinstance(values, list) or not values or len(values) > MAX_TABLE:
        raise ModelError(f"{rope.path}: {rope.prefix}table should be a list of numbers.")
    return tuple(_Section({"item": value}, f"{rope.prefix}table ", rope.path).number("item") for value in values)


def rope_from_gguf(file: GGUFFile, architecture: str, table: tuple[float, ...] | None) -> Rope:
    """The scalings in a GGUF's metadata; `table` is its tensor rope_freqs.weight, which divides frequencies."""
    prefix = f"{architecture}.rope.scaling."
    values = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}
    rope = _Section(values, prefix, file.path)
    kind = values.get("type")
    old = file.metadata.get(f"{architecture}.rope.scale_linear")
    if kind is None and old not in (None, 0, 1):
        kind, rope = "linear", _Section({"factor": old}, f"{architecture}.rope.scale_linear as ", file.path)
    factor = rope.number("factor", 1.0)
    if kind is None and factor not in (0, 1):  # as other readers take it
        kind = "linear"
    query = None
    beta = _Section(file.metadata, "", file.path).number(f"{architecture}.attention.temperature_scale", None)
    if beta:
        query = QueryScaling(beta, rope.whole("original_context_length"))
    scaling = RopeScaling("table", table=table) if table else None
    if scaling and kind not in (None, "none"):
        raise ModelError(f"{file.path}: rope_freqs.weight and {prefix}type are both there, which is not supported.")
    match kind:
        case None | "none":
            return Rope(scaling, query)
        case "linear":
            return Rope(RopeScaling("linear", factor), query)
        case "yarn":
            log_multiplier = rope.number("yarn_log_multiplier", 0.0, least=0)
            attention = yarn_attention_factor(factor, 1.0, log_multiplier or None)
            return Rope(
                RopeScaling(
                    "yarn",
                    factor,
                    rope.whole("original_context_length"),
                    beta_fast=rope.number("yarn_beta_fast", 32.0),
                    beta_slow=rope.number("yarn_beta_slow", 1.0),
                    attention_factor=attention * rope.number("attn_factor", 1.0),
                ),
                query,
            )
    raise ModelError(f"{file.path}: {prefix}type {str(kind)[:60]!r} is not supported, only linear and yarn.")


def _hub_yarn(rope: "_Section") -> RopeScaling:
    factor = rope.number("factor")
    attention = rope.number("attention_factor", None)
    if attention is None:
        mscale, all_dim = rope.number("mscale", None, least=0), rope.number("mscale_all_dim", None, least=0)
        attention = yarn_attention_factor(factor, mscale, all_dim)
    return RopeScaling(
        "yarn",
        factor,
        rope.whole(ORIGINAL),
        beta_fast=rope.number("beta_fast", 32.0),
        beta_slow=rope.number("beta_slow", 1.0),
        truncate=bool(rope.values.get("truncate", True)),
        attention_factor=attention,
    )


def _llama3(rope: "_Section") -> RopeScaling:
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    if high <= low:
        raise ModelError(f"{rope.path}: {rope.prefix}high_freq_factor is {high:g}, but must be above {low:g}.")
    return RopeScaling(
        "llama3", rope.number("factor"), rope.whole(ORIGINAL), low_freq_factor=low, high_freq_factor=high
    )


def _query_scaling(section: "_Section", key: str) -> QueryScaling | None:
    beta = section.number(key, None, least=0)
    return QueryScaling(beta, section.whole(ORIGINAL)) if beta else None


class _Section:
    """An object of a config, whose numbers are checked as they are read."""

    def __init__(self, values: Mapping[str, Any], prefix: str, path: Path) -> None:
        self.values, self.prefix, self.path = values, prefix, path

    @classmethod
    def of(cls, value: object, key: str, path: Path) -> "_Section":
        if not isinstance(value, dict):
            raise ModelError(f"{path}: {key} should be an object, but is {str(value)[:60]!r}.")
        return cls(value, f"{key}.", path)

    _REQUIRED: Any = object()

    def number(self, key: str, default: Any = _REQUIRED, least: float | None = None) -> Any:
        """The number at a key, above 0 or at least `least`; ModelError where it is needed and missing."""
        value = self.values.get(key)
        if value is None:
            if default is self._REQUIRED:
                raise ModelError(f"{self.path}: {self.prefix}{key} is missing, so the rotations can't be computed.")
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
        if not is_number or (value <= 0 if least is None else value < least):
            wanted = "a number above 0" if least is None else f"a number of at least {least:g}"
            raise ModelError(f"{self.path}: {self.prefix}{key} should be {wanted}, but is {str(value)[:60]!r}.")
        return float(value)

    def whole(self, key: str) -> int:
        """The whole number at a key, which must be there."""
        value = self.number(key)
        if value != int(value):
            raise ModelError(f"{self.path}: {self.prefix}{key} is {value}, but must be a whole number.")
        return int(value)
