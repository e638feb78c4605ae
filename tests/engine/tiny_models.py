"""Writes tiny models for tests, with random or with scripted weights: hub-style folders and GGUF files.

Weights are float32 numpy arrays under the hub's names and in the hub's order of rows (half-split pairs).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from menny.engine import Mistral, ModelArgs
from menny.engine.checkpoints.load import Source, build_model
from menny.engine.checkpoints.weight_names import HUB
from tests.engine.formats import block_files
from tests.engine.gguf_files import F32, STRING, U32, Tensor, array_entry, entry, gguf
from tests.engine.rope_files import llama3_divisors, rope_entries, rope_parameters
from tests.engine.tokenizers.vocabulary_files import added, byte_letters, byte_level_json

Weights = dict[str, NDArray[np.float32]]


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.down_proj": "ffn_down",
    "mlp.up_proj": "ffn_up",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


EXPERTS = {"local_experts": "experts", "experts_per_tok": "experts_per_tok"}  # the hub's name, and ours


def tiny_args(**changes: Any) -> ModelArgs:
    """Two blocks, four heads that share two KV heads, and a head_dim unlike dim / n_heads."""
    shape = {"dim": 64, "n_layers": 2, "head_dim": 8, "hidden_dim": 96, "n_heads": 4, "n_kv_heads": 2}
    others = {"norm_eps": 1e-5, "vocab_size": 50, "rope_theta": 1e4, "rope_traditional": False}
    return ModelArgs(**{**shape, **others, **changes})


def shapes(args: ModelArgs) -> dict[str, tuple[int, ...]]:
    """The shape of every weight, by its hub name."""
    queries, keys = args.n_heads * args.head_dim, args.n_kv_heads * args.head_dim
    block: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (queries, args.dim),
        "self_attn.k_proj": (keys, args.dim),
        "self_attn.v_proj": (keys, args.dim),
        "self_attn.o_proj": (args.dim, queries),
        "input_layernorm": (args.dim,),
        "post_attention_layernorm": (args.dim,),
    }
    wide, narrow = (args.hidden_dim, args.dim), (args.dim, args.hidden_dim)
    if args.moe:
        block["block_sparse_moe.gate"] = (args.moe.num_experts, args.dim)
        for expert in range(args.moe.num_experts):
            module = f"block_sparse_moe.experts.{expert}"
            block |= {f"{module}.w1": wide, f"{module}.w2": narrow, f"{module}.w3": wide}
    else:
        block |= {"mlp.gate_proj": wide, "mlp.down_proj": narrow, "mlp.up_proj": wide}
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (args.vocab_size, args.dim)}
    for layer in range(args.n_layers):
        found |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    found["model.norm.weight"] = (args.dim,)
    if not args.tie_word_embeddings:
        found["lm_head.weight"] = (args.vocab_size, args.dim)
    return found


def random_weights(args: ModelArgs, seed: int = 0) -> Weights:
    """Weights that keep activations near 1, with norms that aren't all alike."""
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes(args).items():
        drawn = generator.standard_normal(shape)
        scaled = 1 + drawn / 10 if len(shape) == 1 else drawn if "embed" in name else drawn / np.sqrt(shape[1])
        weights[name] = scaled.astype(np.float32)
    return weights


def scripted_weights(args: ModelArgs, following: Mapping[int, Sequence[int]]) -> Weights:
    """A model that says one of `following[t]` after token t, all alike, whatever came before.

    Its embeddings are the unit vectors, its blocks add nothing, and its output is a table of who follows whom.
    """
    assert args.dim == args.vocab_size
    assert not args.tie_word_embeddings
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(args).items()}
    weights["model.embed_tokens.weight"] = np.eye(args.dim, dtype=np.float32)
    for name, weight in weights.items():
        if "norm" in name:
            weight += 1
    for token, successors in following.items():
        weights["lm_head.weight"][list(successors), token] = 1
    return weights


def hub_config(args: ModelArgs) -> dict[str, Any]:
    """The config.json of a model with these args."""
    types = [f"{'sliding' if windowed else 'full'}_attention" for windowed in args.windowed_layers or ()]
    experts = {f"num_{name}": getattr(args.moe, f"num_{of}") for name, of in EXPERTS.items()} if args.moe else {}
    return {
        "model_type": "mixtral" if args.moe else "mistral",
        "architectures": ["MixtralForCausalLM" if args.moe else "MistralForCausalLM"],
        **experts,
        **({"layer_types": types} if types else {}),
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
        "torch_dtype": "float32",
        **rope_parameters(args),
    }


def built(args: ModelArgs, weights: Weights) -> Mistral:
    """The engine's model with these weights, without a file."""
    arrays = {str(HUB.ours(name)): mx.array(weight) for name, weight in weights.items()}
    return build_model(args, Source(Path("tiny"), HUB, arrays))


def quantize(weights: Weights, group_size: int, bits: int, only: Callable[[str], bool] = lambda _: True) -> dict:
    """The weights as mx arrays, the matrices among them (those whose name `only` likes) quantized by MLX."""
    arrays = {}
    for name, weight in weights.items():
        if weight.ndim == 2 and only(name):
            parts = mx.quantize(mx.array(weight), group_size, bits)
            stem = name.removesuffix("weight")
            arrays |= {stem + kind: part for kind, part in zip(("weight", "scales", "biases"), parts, strict=True)}
        else:
            arrays[name] = mx.array(weight)
    return arrays


def write_folder(
    folder: Path,
    args: ModelArgs,
    weights: Mapping[str, Any],
    *,
    dtype: mx.Dtype = mx.float32,
    shards: int = 1,
    **config: Any,
) -> Path:
    """A hub-style folder; several shards get an index. `config` changes or adds keys of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(hub_config(args) | config))
    arrays = {name: mx.array(weight) for name, weight in weights.items()}
    arrays = {name: w if w.dtype == mx.uint32 else w.astype(dtype) for name, w in arrays.items()}
    if shards == 1:
        mx.save_safetensors(str(folder / "model.safetensors"), arrays)
        return folder
    weight_map = {}
    for shard in range(shards):
        part = {name: arrays[name] for name in sorted(arrays)[shard::shards]}
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        mx.save_safetensors(str(folder / file), part, {"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_vocabulary(folder: Path, *names: str) -> None:
    """A tokenizer.json of the 256 bytes, three merges, and these control tokens behind them from id 259 on."""
    extra = [added(259 + place, name, special=True) for place, name in enumerate(names)]
    (folder / "tokenizer.json").write_text(json.dumps(byte_level_json(*extra)))


def interleave(rows: NDArray[Any], n_heads: int) -> NDArray[Any]:
    """The rows of a hub's wq or wk in the order of the original files, where a pair's rows are neighbours."""
    split = rows.reshape(n_heads, 2, -1, rows.shape[1])  # [heads, half, pair, dim]
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def write_gguf(
    path: Path,
    args: ModelArgs,
    weights: Weights,
    kind: str | Callable[[str], str] = "F32",
    *,
    keys: Sequence[bytes] = (),
    stacked: bool = True,
) -> Weights:
    """A GGUF file with its matrices in this type, or in one by their hub names; returns the weights, under these names,
    that it stands for.

    Not `stacked`: every expert has tensors of its own, as in old files.
    """
    tensors, meant = [], {}
    for name, weight in weights.items():
        of_this = "F32" if weight.ndim < 2 else kind if isinstance(kind, str) else kind(name)
        data, dense, ggml_type = encode_blocks(weight, of_this)
        meant[name] = dense
        key = gguf_name(name)
        if "attn_q." in key or "attn_k." in key:
            n_heads = args.n_heads if "attn_q." in key else args.n_kv_heads
            data, _, _ = encode_blocks(interleave(weight, n_heads), of_this)
        tensors.append(Tensor(key, weight.shape[::-1], ggml_type, data))
    if args.rope_scaling and args.rope_scaling.rope_type == "llama3":
        divisors = llama3_divisors(args).astype(np.float32)
        tensors.append(Tensor("rope_freqs.weight", divisors.shape, 0, divisors.tobytes()))
    if stacked:
        tensors = stack_experts(tensors)
    path.write_bytes(gguf([*gguf_entries(args), *keys], tensors))
    return meant


def stack_experts(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors, with those of a layer's experts in one."""
    whole: dict[str, Tensor] = {}
    for tensor in tensors:
        apart = re.fullmatch(r"(blk\.\d+\.ffn_\w+)\.\d+\.weight", tensor.name)
        name = f"{apart[1]}_exps.weight" if apart else tensor.name
        if name in whole:
            *dims, count = whole[name].dims
            whole[name] = replace(whole[name], dims=(*dims, count + 1), data=whole[name].data + tensor.data)
        else:
            whole[name] = replace(tensor, name=name, dims=(*tensor.dims, 1) if apart else tensor.dims)
    return list(whole.values())


def gguf_entries(args: ModelArgs) -> list[bytes]:
    """The metadata of a GGUF file with these args, and a vocabulary of bytes."""
    letters = byte_letters()
    tokens = [letters[byte] for byte in range(256)] + [f"<c{i}>" for i in range(256, args.vocab_size)]
    kind = "mistral3" if args.rope_scaling and args.rope_scaling.rope_type == "yarn" else "llama"
    return [
        entry("general.architecture", STRING, kind),
        entry(f"{kind}.embedding_length", U32, args.dim),
        entry(f"{kind}.block_count", U32, args.n_layers),
        entry(f"{kind}.feed_forward_length", U32, args.hidden_dim),
        entry(f"{kind}.attention.head_count", U32, args.n_heads),
        entry(f"{kind}.attention.head_count_kv", U32, args.n_kv_heads),
        entry(f"{kind}.attention.key_length", U32, args.head_dim),
        entry(f"{kind}.attention.value_length", U32, args.head_dim),
        entry(f"{kind}.rope.dimension_count", U32, args.head_dim),
        entry(f"{kind}.attention.layer_norm_rms_epsilon", F32, args.norm_eps),
        entry(f"{kind}.rope.freq_base", F32, args.rope_theta),
        entry(f"{kind}.context_length", U32, args.max_position_embeddings),
        *([entry(f"{kind}.attention.sliding_window", U32, args.sliding_window)] if args.sliding_window else []),
        *([entry(f"{kind}.expert_count", U32, args.moe.num_experts)] if args.moe else []),
        *([entry(f"{kind}.expert_used_count", U32, args.moe.num_experts_per_tok)] if args.moe else []),
        entry("tokenizer.ggml.model", STRING, "gpt2"),
        array_entry("tokenizer.ggml.tokens", STRING, tokens[: args.vocab_size]),
        array_entry("tokenizer.ggml.token_type", U32, [1 if i < 256 else 3 for i in range(args.vocab_size)]),
        array_entry("tokenizer.ggml.merges", STRING, []),
        *rope_entries(args, kind),
    ]


def encode_blocks(weight: NDArray[np.float32], kind: str) -> tuple[bytes, NDArray[np.float32], int]:
    """ggml's bytes for a tensor, the numbers that they stand for, and ggml's number of the type."""
    if kind == "F32":
        return weight.tobytes(), weight, 0
    if kind == "F16":
        half = weight.astype(np.float16)
        return half.tobytes(), half.astype(np.float32), 1
    if kind == "BF16":
        high = (weight.view(np.uint32) >> 16).astype(np.uint16)
        return high.tobytes(), (high.astype(np.uint32) << 16).view(np.float32), 30
    if kind in block_files.SCALES:
        return block_files.encode(weight, kind)
    blocks = weight.reshape(-1, 32).astype(np.float32)
    pieces, dense = zip(*(_BLOCKS[kind](block) for block in blocks), strict=True)
    numbers = np.stack(dense).reshape(weight.shape).astype(np.float32)
    return b"".join(pieces), numbers, {"Q4_0": 2, "Q4_1": 3, "Q8_0": 8}[kind]


def _q4_0(block: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """d, then 16 bytes of q + 8: element i in the low half of byte i, element i + 16 in the high half."""
    extreme = block[np.abs(block).argmax()]
    d = np.float16(extreme / -8)
    q = np.clip(np.round(block / np.float32(d or 1)) + 8, 0, 15).astype(np.uint8)
    return d.tobytes() + (q[:16] | q[16:] << 4).tobytes(), np.float32(d) * (q.astype(np.float32) - 8)


def _q4_1(block: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """d and m, then 16 bytes of q as in Q4_0: w = d q + m."""
    m = np.float16(block.min())
    d = np.float16((block.max() - block.min()) / 15)
    q = np.clip(np.round((block - np.float32(m)) / np.float32(d or 1)), 0, 15).astype(np.uint8)
    packed = d.tobytes() + m.tobytes() + (q[:16] | q[16:] << 4).tobytes()
    return packed, np.float32(d) * q.astype(np.float32) + np.float32(m)


def _q8_0(block: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """d, then 32 signed bytes: w = d q."""
    d = np.float16(np.abs(block).max() / 127)
    q = np.clip(np.round(block / np.float32(d or 1)), -128, 127).astype(np.int8)
    return d.tobytes() + q.tobytes(), np.float32(d) * q.astype(np.float32)


_BLOCKS = {"Q4_0": _q4_0, "Q4_1": _q4_1, "Q8_0": _q8_0}


def gguf_name(name: str) -> str:
    """A GGUF's name of a weight with this hub name."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.weight"
    layer, inner = stem.removeprefix("model.layers.").split(".", 1)
    if ".experts." in inner:
        expert, matrix = inner.split(".")[-2:]
        return f"blk.{layer}.{ {'w1': 'ffn_gate', 'w2': 'ffn_down', 'w3': 'ffn_up'}[matrix] }.{expert}.weight"
    return f"blk.{layer}.{GGUF_NAMES[inner]}.weight"
