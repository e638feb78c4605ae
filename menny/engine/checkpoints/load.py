"""From weights on disk to a model in memory.

Every source becomes one flat dict of arrays under this engine's own names, is checked against the shapes that the
args ask for, and is evaluated whole.
"""

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
import mlx.nn as nn
import psutil

from menny.engine.args import ModelArgs, MoEArgs
from menny.engine.checkpoints.checkpoint import Source, Weights, open_model
from menny.engine.checkpoints.quantization import BITS, GROUP_SIZES, Parts, QuantFormat, expand, widen
from menny.engine.checkpoints.weight_names import GGUF, KINDS
from menny.engine.cpu.kernels import packed_mistral
from menny.engine.cpu.matrix import can_pack, is_packable
from menny.engine.formats.gguf_quants import GROUP
from menny.engine.memory import return_freed_memory
from menny.engine.model import Mistral
from menny.engine.stage import Stage
from menny.errors import ModelError, quoted

if TYPE_CHECKING:
    from menny.engine.cpu.packed_model import PackedMistral

WHOLE = "Is this the whole model, and its own config?"


def load_model(path: str | Path, *, pack: bool = True, threads: int | None = None) -> Mistral:
    """Load a folder in any of checkpoint.py's formats, or a .gguf file, in the form that is fast on this machine.

    Weights stay as the file has them. On a CPU they are packed for the kernels of `menny.engine.cpu`, multiplied by
    `threads` (default: one for each core); without kernels, or if not `pack`, they become float32, and quantized ones
    are expanded where that fits into half of the free memory. On a GPU, GGUF's float32 numbers become half precision
    where the others are. Every weight is evaluated. Raises ModelError, naming file and key, for a model that can't be
    loaded.
    """
    return build_model(*open_model(Path(os.path.expanduser(path))), pack=pack, threads=threads)


def build_model(
    args: ModelArgs, source: Source, stage: Stage | None = None, *, pack: bool = True, threads: int | None = None
) -> Mistral:
    """Build a Mistral, or a stage of it, from the source's weights; those that it hasn't read yet are read.

    The weights are taken out of the source one by one, so that memory holds them once.
    """
    packed = packed_mistral() if pack else None
    stage = stage or Stage.whole(args.n_layers)
    shapes = stage.part_of(check_names(args, source), args.tie_word_embeddings)
    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    fits = is_expanded(sum(map(math.prod, shapes.values())), psutil.virtual_memory().available)
    weights = source.weights
    weights |= source.fetch({f"{name}.{kind}" for name in shapes for kind in KINDS} & source.shards.keys())
    if args.tie_word_embeddings:
        for kind in KINDS:
            weights.pop(f"output.{kind}", None)
    forms = check_forms(shapes, source)
    unpackable = [name for name in forms if not (packed and can_pack(shapes[name], *forms[name]))]
    try:
        if on_cpu and fits:
            _dequantize(unpackable, forms, weights, mx.float32)
        if not packed:
            small = [name for name, (group, _) in forms.items() if group not in GROUP_SIZES]
            _requantize(small, forms, weights, (GROUP, 8))
        half = {f"{name}.{kind}" for name in unpackable for kind in KINDS}  # scales, which MLX's products want exact
        slow = [name for name, weight in weights.items() if name in half or not (packed and is_packable(weight))]
        _cast(slow, weights, mx.float32 if on_cpu else _short(source))
        _stack(args, stage, forms, weights, mx.float32 if on_cpu else None)
        model = packed(args, stage) if packed else Mistral(args, stage)
        model.leaves_out_vision = source.has_vision
        _quantize_like(model, {stage.local(name): form for name, form in forms.items()})
        model.load_weights([(stage.local(name), weight) for name, weight in weights.items()])
        model.eval()
        mx.eval(model.parameters())
        weights.clear()
        if packed:
            cast("PackedMistral", model).pack(threads)
        return_freed_memory()
    except RuntimeError as error:
        reason = quoted(str(error), 200)
        raise ModelError(f"{source.path}: the weights can't be read ({reason}): download the model again.") from error
    return model


def is_expanded(n_parameters: int, available: int) -> bool:
    """Return True where a CPU with `available` bytes expands quantized weights to float32, which is faster there."""
    return 4 * n_parameters < available // 2


def check_names(args: ModelArgs, source: Source) -> dict[str, tuple[int, ...]]:
    """Return the model's modules with the shapes of their weights; ModelError names missing and extra weights."""
    shapes, listed = _shapes(args, source), source.listed
    if args.tie_word_embeddings:
        listed -= {f"output.{kind}" for kind in KINDS}  # a copy of the embeddings
    _refuse("missing", [f"{name}.weight" for name in shapes if f"{name}.weight" not in listed], source)
    quantized = {name for name, shape in shapes.items() if len(shape) > 1 and f"{name}.scales" in listed}
    known = {f"{name}.{kind}" for name in shapes for kind in (KINDS if name in quantized else KINDS[:1])}
    _refuse("unknown", sorted(listed - known), source)
    return shapes


def check_forms(shapes: dict[str, tuple[int, ...]], source: Source) -> dict[str, QuantFormat]:
    """Return the quantized ones of these modules with their forms; ModelError names weights of a wrong shape."""
    forms = {}
    for name, shape in shapes.items():
        if len(shape) > 1 and f"{name}.scales" in source.weights:
            forms[name] = _form(name, shape, source)
        else:
            _check_plain(f"{name}.weight", shape, source)
    return forms


def _shapes(args: ModelArgs, source: Source) -> dict[str, tuple[int, ...]]:
    """Return the modules of a model with these args, and the shapes of their weights."""
    queries, keys = args.n_heads * args.head_dim, args.n_kv_heads * args.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "attention_norm": (args.dim,),
        "attention.wq": (queries, args.dim),
        "attention.wk": (keys, args.dim),
        "attention.wv": (keys, args.dim),
        "attention.wo": (args.dim, queries),
        "ffn_norm": (args.dim,),
    }
    swiglu = {"w1": (args.hidden_dim, args.dim), "w2": (args.dim, args.hidden_dim), "w3": (args.hidden_dim, args.dim)}
    shapes: dict[str, tuple[int, ...]] = {"tok_embeddings": (args.vocab_size, args.dim)}
    for number in range(args.n_layers):
        shapes |= {f"layers.{number}.{name}": shape for name, shape in layer.items()}
        feed_forward = f"layers.{number}.feed_forward"
        if args.moe:
            shapes[f"{feed_forward}.gate"] = (args.moe.num_experts, args.dim)
        for name, shape in swiglu.items():
            shapes |= (
                _expert_shapes(feed_forward, name, shape, args.moe, source)
                if args.moe
                else {f"{feed_forward}.{name}": shape}
            )
    shapes["norm"] = (args.dim,)
    if not args.tie_word_embeddings:
        shapes["output"] = (args.vocab_size, args.dim)
    return shapes


def _expert_shapes(
    feed_forward: str, name: str, shape: tuple[int, ...], moe: MoEArgs, source: Source
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one matrix of all experts: stacked into one weight, or apart, as the source has them."""
    stacked = f"{feed_forward}.experts.{name}"
    if f"{stacked}.weight" in source.listed or not source.has_single_experts:
        return {stacked: (moe.num_experts, *shape)}
    return {f"{feed_forward}.experts.{expert}.{name}": shape for expert in range(moe.num_experts)}


def _refuse(problem: str, names: list[str], source: Source) -> None:
    """Raise ModelError where there are such names, and show the first three."""
    if names:
        shown = ", ".join(source.names.theirs(name) for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        file = source.path if problem == "missing" else source.shards.get(names[0], source.path)
        raise ModelError(f"{file}: {problem} weights: {shown}{more}. {WHOLE}", file=file)


def _check_plain(name: str, shape: tuple[int, ...], source: Source) -> None:
    weight = source.weights[name]
    if weight.shape != shape:
        raise ModelError(f"{source.place(name)} has the shape {weight.shape}, but the config asks for {shape}. {WHOLE}")
    if not mx.issubdtype(weight.dtype, mx.floating):
        raise ModelError(f"{source.place(name)} has the type {_type(weight)}, which weights can't have.")


def _form(name: str, shape: tuple[int, ...], source: Source) -> QuantFormat:
    """Return the form of a quantized weight, which follows from its packed shape and the shape that it stands for."""
    if f"{name}.biases" not in source.weights:
        raise ModelError(f"{source.place(f'{name}.scales')} has no biases: only affine quantization is supported.")
    weight, scales, biases = (source.weights[f"{name}.{kind}"] for kind in KINDS)
    *rows, width = shape
    like = all(part.shape[:-1] == tuple(rows) for part in (weight, scales)) and scales.shape == biases.shape
    if like and weight.ndim == scales.ndim == len(shape):
        form = width // max(1, scales.shape[-1]), 32 * weight.shape[-1] // width
        exact = form[0] * scales.shape[-1] == width and form[1] * width == 32 * weight.shape[-1]
        floating = all(mx.issubdtype(part.dtype, mx.floating) for part in (scales, biases))
        known = form[0] in source.group_sizes and form[1] in BITS and weight.dtype == mx.uint32
        if exact and floating and known:
            return form
    raise ModelError(
        f"{source.place(f'{name}.weight')}: {_type(weight)} {weight.shape} with scales {_type(scales)} {scales.shape} "
        f"and biases {_type(biases)} {biases.shape} is no quantization of {shape}, which the config asks for. {WHOLE}"
    )


def _type(weight: mx.array) -> str:
    return str(weight.dtype).removeprefix("mlx.core.")


def _dequantize(
    names: Iterable[str], forms: dict[str, QuantFormat], weights: Weights, dtype: mx.Dtype | None = None
) -> None:
    """Expand these quantized weights in place, one by one, computed in `dtype` or, without one, their scales' type."""
    for name in names:
        parts = _take(name, weights)
        dense = expand(parts, forms.pop(name), dtype or parts[1].dtype)
        mx.eval(dense)
        weights[f"{name}.weight"] = dense


def _requantize(names: Iterable[str], forms: dict[str, QuantFormat], weights: Weights, form: QuantFormat) -> None:
    """Quantize these weights again, one by one, to a form that MLX has."""
    for name in names:
        _put(name, mx.quantize(expand(_take(name, weights), forms[name]), *form), weights)
        forms[name] = form


def _take(name: str, weights: Weights) -> Parts:
    words, scales, biases = (weights.pop(f"{name}.{kind}") for kind in KINDS)
    return words, scales, biases


def _put(name: str, parts: Parts, weights: Weights) -> None:
    mx.eval(parts)
    weights |= {f"{name}.{kind}": part for kind, part in zip(KINDS, parts, strict=True)}


def _short(source: Source) -> mx.Dtype | None:
    """Return the type for all of a GGUF's plain numbers on a GPU, None where they stay as they are.

    Its norms are float32 whatever the rest is, and would turn all that is computed with them into float32.
    """
    short = {weight.dtype for weight in source.weights.values()} - {mx.float32}
    if source.names is not GGUF or not short:
        return None
    return mx.bfloat16 if mx.bfloat16 in short else mx.float16


def _cast(names: list[str], weights: Weights, dtype: mx.Dtype | None) -> None:
    """Cast these plain numbers and scales to this type. Half precision is slow on a CPU, and float32 on a GPU."""
    for name in names:
        if dtype is not None and weights[name].dtype not in (mx.uint32, dtype):
            weights[name] = weights[name].astype(dtype)
            mx.eval(weights[name])


def _stack(
    args: ModelArgs, stage: Stage, forms: dict[str, QuantFormat], weights: Weights, dtype: mx.Dtype | None
) -> None:
    """Stack every block's wq, wk and wv into the one matrix that Attention has, and single experts into one array."""
    for number in stage.blocks:
        attention = f"layers.{number}.attention"
        parts = [f"{attention}.{name}" for name in ("wq", "wk", "wv")]
        _join(f"{attention}.wqkv", parts, mx.concatenate, forms, weights, dtype)
        experts = f"layers.{number}.feed_forward.experts"
        for name in ("w1", "w2", "w3"):
            if args.moe and f"{experts}.{name}.weight" not in weights:
                parts = [f"{experts}.{expert}.{name}" for expert in range(args.moe.num_experts)]
                _join(f"{experts}.{name}", parts, mx.stack, forms, weights, dtype)


def _join(
    whole: str,
    parts: list[str],
    join: Callable[[list[mx.array]], mx.array],
    forms: dict[str, QuantFormat],
    weights: Weights,
    dtype: mx.Dtype | None,
) -> None:
    """Replace these parts by the one weight that they make together."""
    mixed = {part: forms[part] for part in parts if part in forms}
    if len(mixed) < len(parts):  # some are plain
        _dequantize(mixed, forms, weights, dtype)
    elif len(set(mixed.values())) > 1:
        wide = min(group for group, _ in mixed.values()), max(bits for _, bits in mixed.values())
        for part, form in mixed.items():
            _put(part, widen(_take(part, weights), form, wide), weights)
        forms |= dict.fromkeys(mixed, wide)
    shared = [forms.pop(part) for part in parts if part in forms]
    if shared:
        forms[whole] = shared[0]
    for kind in KINDS if shared else KINDS[:1]:
        weights[f"{whole}.{kind}"] = join([weights.pop(f"{part}.{kind}") for part in parts])
        mx.eval(weights[f"{whole}.{kind}"])


def _quantize_like(model: Mistral, forms: dict[str, QuantFormat]) -> None:
    """Quantize the modules whose weights are quantized, in the same forms."""
    for group_size, bits in set(forms.values()):

        def has_form(name: str, _: nn.Module, form: QuantFormat = (group_size, bits)) -> bool:
            return forms.get(name) == form

        nn.quantize(model, max(group_size, GROUP_SIZES[0]), bits, class_predicate=has_form)
    modules: dict[str, Any] = dict(model.named_modules())
    for name, form in forms.items():
        if form[0] not in GROUP_SIZES:  # MLX holds such a module, for the kernels, but can't make it
            module = modules[name]
            groups = module.scales.shape[-1] * module.group_size // form[0]
            module.group_size = form[0]
            module.scales = module.biases = mx.zeros((*module.scales.shape[:-1], groups))
