"""A model in memory as a hub-style folder, config.json and model.safetensors, which other readers understand too."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from menny.engine.args import ModelArgs
from menny.engine.checkpoints.weight_names import HUB
from menny.engine.formats.safetensors import write_safetensors
from menny.engine.model import Mistral
from menny.engine.moe import QuantizedExpertLinear
from menny.engine.rope_config import rope_to_hub

Weights = dict[str, mx.array]


def export_folder(model: Mistral, folder: Path) -> None:
    """Write the model into this folder, in the types and quantized forms that it has in memory.

    Raises OSError where the disk doesn't take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", hub_weights(model))
    quantization = _quantization(model)
    config = hub_config(model.args) | ({"quantization": quantization} if quantization else {})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def hub_weights(model: Mistral) -> Weights:
    """The weights under the hub's names: wq, wk and wv apart, their rows in the order of half-split pairs."""
    flat: Weights = dict(tree_flatten(model.parameters()))
    weights: Weights = {}
    for name, weight in flat.items():
        for part, rows in _apart(name, weight, model.args).items():
            weights[HUB.theirs(part)] = rows
    return weights


def hub_config(args: ModelArgs) -> dict[str, Any]:
    """The config.json of such a folder, as far as these args tell it: all but the quantization."""
    config: dict[str, Any] = {
        "model_type": "mixtral" if args.moe else "mistral",
        "architectures": ["MixtralForCausalLM" if args.moe else "MistralForCausalLM"],
        "hidden_size": args.dim,
        "num_hidden_layers": args.n_layers,
        "head_dim": args.head_dim,
        "intermediate_size": args.hidden_dim,
        "num_attention_heads": args.n_heads,
        "num_key_value_heads": args.n_kv_heads,
        "rms_norm_eps": args.norm_eps,
        "vocab_size": args.vocab_size,
        "rope_theta": args.rope_theta,
        "sliding_window": args.sliding_window,
        "tie_word_embeddings": args.tie_word_embeddings,
        "max_position_embeddings": args.max_position_embeddings,
        "hidden_act": "silu",
    }
    if rope := rope_to_hub(args.rope_theta, args.rope_scaling, args.query_scaling):
        config |= {"model_type": "ministral3" if args.query_scaling else config["model_type"], "rope_parameters": rope}
    if args.windowed_layers:
        config["layer_types"] = [f"{'sliding' if windowed else 'full'}_attention" for windowed in args.windowed_layers]
    if args.moe:
        config["num_local_experts"] = args.moe.num_experts
        config["num_experts_per_tok"] = args.moe.num_experts_per_tok
    return config


def _apart(name: str, weight: mx.array, args: ModelArgs) -> Weights:
    """A weight under its own name, or the three that are stacked in it."""
    stem, _, kind = name.rpartition(".")
    if not stem.endswith("wqkv"):
        return {name: weight}
    queries, keys = args.n_heads * args.head_dim, args.n_kv_heads * args.head_dim
    wq, wk, wv = mx.split(weight, [queries, queries + keys])
    if args.rope_traditional:
        wq, wk = half_split(wq, args.n_heads), half_split(wk, args.n_kv_heads)
    stack = stem.removesuffix("wqkv")
    return {f"{stack}wq.{kind}": wq, f"{stack}wk.{kind}": wk, f"{stack}wv.{kind}": wv}


def half_split(rows: mx.array, n_heads: int) -> mx.array:
    """Rows [H * D, dim] whose rotary pairs are neighbours, in the hub's order: a pair's rows are D / 2 apart."""
    pairs = rows.reshape(n_heads, -1, 2, rows.shape[-1])  # [H, D / 2, 2, dim]
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _quantization(model: Mistral) -> dict[str, Any]:
    """The commonest form of the quantized modules, and by their names those that have another; empty: none has."""
    forms: dict[str, tuple[int, int]] = {}
    quantized = {name: (packed.group, packed.bits) for name, packed in model.packed.items() if packed.group}
    for name, module in model.named_modules():
        if isinstance(module, nn.QuantizedLinear | nn.QuantizedEmbedding | QuantizedExpertLinear):
            quantized[name] = module.group_size, module.bits
    for name, form in quantized.items():
        for part in _apart(f"{name}.weight", mx.zeros((0, 1)), model.args):
            forms[HUB.theirs(part).removesuffix(".weight")] = form
    if not forms:
        return {}
    (common, _), *_ = Counter(forms.values()).most_common(1)
    others = {name: _form(form) for name, form in forms.items() if form != common}
    return _form(common) | others


def _form(form: tuple[int, int]) -> dict[str, Any]:
    return {"group_size": form[0], "bits": form[1]}
