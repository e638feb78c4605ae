"""From a model on disk to a model in memory: a hub-style folder of safetensors, or a GGUF file.

Every source becomes one flat dict of arrays under this engine's own names (those of the reference implementation), is
checked against the model's shape, and is evaluated whole.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import psutil
from mlx.utils import tree_flatten

from menny.engine.args import ModelArgs, args_from_folder, args_from_gguf
from menny.engine.gguf import read_gguf
from menny.engine.gguf_tensors import read_tensors
from menny.engine.model import Mistral
from menny.engine.safetensors import find_shards, read_safetensors_header
from menny.errors import ModelError

Weights = dict[str, mx.array]
Form = tuple[int, int]  # of a quantized weight: group_size, bits

STACK = "attention.wqkv"

_HUB_NAMES = {
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}

_GGUF_NAMES = {
    "token_embd": "tok_embeddings",
    "output_norm": "norm",
    "output": "output",
    "attn_q": "attention.wq",
    "attn_k": "attention.wk",
    "attn_v": "attention.wv",
    "attn_output": "attention.wo",
    "ffn_gate": "feed_forward.w1",
    "ffn_down": "feed_forward.w2",
    "ffn_up": "feed_forward.w3",
    "attn_norm": "attention_norm",
    "ffn_norm": "ffn_norm",
}

_KEY = re.compile(r"^(?:(?:model\.layers|blk)\.(?P<layer>\d+)\.)?(?P<name>.+)\.(?P<kind>weight|scales|biases)$")


def load_model(path: str | Path) -> Mistral:
    """Load a folder or a .gguf file, every weight evaluated, in the form that is fast on this machine.

    On a CPU the weights become float32, and quantized ones are expanded where that fits into half of the memory that
    is free. On a GPU they stay as they are. Raises ModelError, naming file and key, for what can't be loaded.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        args, weights = args_from_folder(path), _read_folder(path)
    else:
        args, weights = _read_gguf(path)
    return build_model(args, weights, path)


def build_model(args: ModelArgs, weights: Weights, source: Path) -> Mistral:
    """A Mistral with these weights; `source` is what errors name."""
    if args.tie_word_embeddings:
        weights.pop("output.weight", None)
    model = Mistral(args)
    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    fits = 4 * args.n_parameters < psutil.virtual_memory().available // 2
    widths = {name: module["weight"].shape[-1] for name, module in _modules(model).items()}
    widths |= {part: widths[stack] for stack in widths if stack.endswith(STACK) for part in _parts(stack)}
    forms = {name: _quantization(name, widths[name], weights, source) for name in widths if f"{name}.scales" in weights}
    if on_cpu and fits:
        _dequantize(set(forms), forms, weights)
        forms = {}
    _stack_attention(model, weights, forms, source)
    _quantize_like(model, forms)
    _check(model, weights, source)
    if on_cpu:
        weights = {name: _as_float32(weight) for name, weight in weights.items()}
    model.load_weights(list(weights.items()), strict=False)  # `_check` has been stricter
    model.eval()
    try:
        mx.eval(model.parameters())
    except RuntimeError as error:
        raise ModelError(f"{source}: the weights can't be read ({error}): get the model again") from error
    return model


def _read_folder(folder: Path) -> Weights:
    weights: Weights = {}
    for shard in find_shards(folder):
        read_safetensors_header(shard)  # refuses what MLX should not see
        loaded = _mx_load(shard)
        for key, weight in loaded.items():
            name = _rename(key, _HUB_NAMES)
            if name is None:
                if key.endswith("rotary_emb.inv_freq"):
                    continue  # old exports carry what is computed
                raise ModelError(f"{shard}: the key {key!r} doesn't belong to a Mistral model")
            if name in weights:
                raise ModelError(f"{shard}: the key {key!r} stands in two shards")
            weights[name] = weight
    return weights


def _read_gguf(path: Path) -> tuple[ModelArgs, Weights]:
    file = read_gguf(path)
    args = args_from_gguf(file)
    weights: Weights = {}
    for key, arrays in read_tensors(file):
        name = _rename(key, _GGUF_NAMES)
        if name is None:
            raise ModelError(f"{path}: the tensor {key!r} doesn't belong to a Mistral model")
        for kind, array in arrays.items():
            weights[name.removesuffix("weight") + kind] = array
    return args, weights


def _mx_load(path: Path) -> Weights:
    try:
        loaded = mx.load(str(path))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path} can't be read ({error}): get the file again") from error
    return loaded if isinstance(loaded, dict) else {}


def _rename(key: str, names: Mapping[str, str]) -> str | None:
    """A source's key under this engine's name, or None for one that is not a Mistral's."""
    match = _KEY.match(key)
    name = names.get(match["name"]) if match else None
    if match is None or name is None:
        return None
    layer = f"layers.{match['layer']}." if match["layer"] else ""
    return f"{layer}{name}.{match['kind']}"


def _modules(model: Mistral) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding)}


def _quantization(name: str, in_dim: int, weights: Weights, source: Path) -> Form:
    """The form of a quantized weight: its packed shape tells, given the width that it stands for."""
    if f"{name}.weight" not in weights or f"{name}.biases" not in weights:
        raise ModelError(f"{source}: {name} has scales but no weight and biases: only affine quantization is supported")
    weight, scales, biases = (weights[f"{name}.{kind}"] for kind in ("weight", "scales", "biases"))
    group_size, rest = divmod(in_dim, max(1, scales.shape[-1]))
    bits, odd = divmod(32 * weight.shape[-1], in_dim)
    fits = weight.ndim == scales.ndim and weight.shape[:-1] == scales.shape[:-1] and scales.shape == biases.shape
    known = bits in (2, 3, 4, 5, 6, 8) and group_size in (32, 64, 128) and weight.dtype == mx.uint32
    if rest or odd or not fits or not known:
        raise ModelError(
            f"{source}: {name} has packed weights {weight.shape}, scales {scales.shape} and biases {biases.shape}, "
            f"which fit no quantization of a width of {in_dim}"
        )
    return group_size, bits


def _parts(stack: str) -> list[str]:
    return [stack.removesuffix("wqkv") + part for part in ("wq", "wk", "wv")]


def _stack_attention(model: Mistral, weights: Weights, forms: dict[str, Form], source: Path) -> None:
    """Stack every block's wq, wk and wv into the one matrix that Attention has."""
    args = model.args
    rows = [args.n_heads * args.head_dim] + 2 * [args.n_kv_heads * args.head_dim]
    for stack in [name for name in _modules(model) if name.endswith(STACK)]:
        parts = _parts(stack)
        for part, n_rows in zip(parts, rows, strict=True):
            if f"{part}.weight" not in weights:
                raise ModelError(f"{source}: missing weights: {part}. Is this the whole model, and its own config?")
            if weights[f"{part}.weight"].shape[0] != n_rows:
                shape = weights[f"{part}.weight"].shape
                raise ModelError(f"{source}: {part} has the shape {shape}, but the config asks {n_rows} rows")
        if len({forms.get(part) for part in parts}) > 1:  # a mixed quantization
            _dequantize({part for part in parts if part in forms}, forms, weights)
        elif parts[0] in forms:
            forms[stack] = forms[parts[0]]
        for kind in ("weight", "scales", "biases"):
            if f"{parts[0]}.{kind}" in weights:
                pieces = [weights.pop(f"{part}.{kind}") for part in parts]
                if len({piece.shape[1:] for piece in pieces}) > 1:
                    raise ModelError(f"{source}: {parts[0]}, {parts[1]} and {parts[2]} have different widths")
                weights[f"{stack}.{kind}"] = mx.concatenate(pieces)
                mx.eval(weights[f"{stack}.{kind}"])


def _quantize_like(model: Mistral, forms: dict[str, Form]) -> None:
    """Make those modules quantized whose weights are."""
    for group_size, bits in set(forms.values()):

        def has_form(name: str, _: nn.Module, form: Form = (group_size, bits)) -> bool:
            return forms.get(name) == form

        nn.quantize(model, group_size, bits, class_predicate=has_form)


def _dequantize(names: set[str], forms: dict[str, Form], weights: Weights) -> None:
    """Expand these quantized weights to float32, one after the other."""
    for name in names:
        weight, scales, biases = (weights.pop(f"{name}.{kind}") for kind in ("weight", "scales", "biases"))
        dtype = mx.float32 if mx.default_device().type == mx.DeviceType.cpu else scales.dtype
        dense = mx.dequantize(weight, scales.astype(dtype), biases.astype(dtype), *forms[name])
        mx.eval(dense)
        weights[f"{name}.weight"] = dense


def _as_float32(weight: mx.array) -> mx.array:
    return weight if weight.dtype == mx.uint32 else weight.astype(mx.float32)


def _check(model: Mistral, weights: Weights, source: Path) -> None:
    """Refuse missing, extra and misshapen weights by name."""
    expected = dict(tree_flatten(model.parameters()))
    for problem, names in (
        ("missing", expected.keys() - weights.keys()),
        ("unknown", weights.keys() - expected.keys()),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelError(
                f"{source}: {problem} weights: {shown}{more}. Is this the whole model, and its own config?"
            )
    for name, weight in weights.items():
        if weight.shape != expected[name].shape:
            raise ModelError(
                f"{source}: {name} has the shape {weight.shape}, but the config asks {expected[name].shape}"
            )
        if not mx.issubdtype(weight.dtype, mx.floating) and weight.dtype != expected[name].dtype:
            raise ModelError(f"{source}: {name} has the type {weight.dtype}, which weights can't have")
