"""The truth for small models: Mistral's forward pass in numpy, float64, one token after the other, as the paper says.

Slow and plain on purpose: no cache, no fused operation, no batch, nothing that the engine uses.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from menny.engine.args import ModelArgs, MoEArgs

Array = NDArray[np.float64]

HUB_SWIGLU = ("gate_proj", "down_proj", "up_proj")


def logits_of(args: ModelArgs, weights: Mapping[str, NDArray[np.float32]], tokens: Sequence[int]) -> Array:
    """Logits [L, V] of one sequence, from weights under the hub's names."""
    exact = {name: weight.astype(np.float64) for name, weight in weights.items()}
    x = exact["model.embed_tokens.weight"][list(tokens)]
    for layer in range(args.n_layers):
        block = {name.split(f"layers.{layer}.")[1]: w for name, w in exact.items() if f"layers.{layer}." in name}
        normed = _norm(x, block["input_layernorm.weight"], args.norm_eps)
        x = x + _attention(args, block, normed, args.window_of(layer))
        normed = _norm(x, block["post_attention_layernorm.weight"], args.norm_eps)
        x = x + (_mixture(args.moe, block, normed) if args.moe else _swiglu(block, "mlp", HUB_SWIGLU, normed))
    x = _norm(x, exact["model.norm.weight"], args.norm_eps)
    output = "model.embed_tokens.weight" if args.tie_word_embeddings else "lm_head.weight"
    return x @ exact[output].T


def attend(queries: Array, keys: Array, values: Array, window: int | None) -> Array:
    """Attention of queries [H, L, D] over keys and values [K, T, D]; the last L of T positions are the queries' own."""
    heads, length, dim = queries.shape
    past = keys.shape[1] - length
    mixed = np.zeros_like(queries)
    for head in range(heads):
        shared = head * keys.shape[0] // heads  # the K/V head that this query head shares with its neighbours
        for place in range(length):
            last = past + place + 1
            first = 0 if window is None else max(0, last - window)
            scores = keys[shared, first:last] @ queries[head, place] / np.sqrt(dim)
            likely = np.exp(scores - scores.max())
            mixed[head, place] = likely / likely.sum() @ values[shared, first:last]
    return mixed


def _swiglu(block: Mapping[str, Array], module: str, names: Sequence[str], x: Array) -> Array:
    gate, down, up = (block[f"{module}.{name}.weight"] for name in names)
    hidden = x @ gate.T
    return (hidden / (1 + np.exp(-hidden)) * (x @ up.T)) @ down.T


def _mixture(moe: MoEArgs, block: Mapping[str, Array], x: Array) -> Array:
    """Token by token, and expert by expert: the best ones by the gate, weighted by softmax over these."""
    mixed = np.zeros_like(x)
    for place, token in enumerate(x):
        scores = block["block_sparse_moe.gate.weight"] @ token
        best = np.argsort(-scores)[: moe.num_experts_per_tok]
        shares = np.exp(scores[best] - scores[best].max())
        for expert, share in zip(best, shares / shares.sum(), strict=True):
            mixed[place] += share * _swiglu(block, f"block_sparse_moe.experts.{expert}", ("w1", "w2", "w3"), token)
    return mixed


def _norm(x: Array, weight: Array, eps: float) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight


def _attention(args: ModelArgs, block: Mapping[str, Array], x: Array, window: int | None) -> Array:
    def heads(name: str, count: int) -> Array:
        return (x @ block[f"self_attn.{name}.weight"].T).reshape(len(x), count, args.head_dim).transpose(1, 0, 2)

    queries = _rotate(args, heads("q_proj", args.n_heads))
    keys = _rotate(args, heads("k_proj", args.n_kv_heads))
    mixed = attend(queries, keys, heads("v_proj", args.n_kv_heads), window)
    return mixed.transpose(1, 0, 2).reshape(len(x), -1) @ block["self_attn.o_proj.weight"].T


def _rotate(args: ModelArgs, x: Array) -> Array:
    """Every pair (j, j + D/2) turned by its position times theta^(-2j/D), as the hub's weights have their pairs."""
    half = args.head_dim // 2
    turned = np.empty_like(x)
    for place in range(x.shape[1]):
        for pair in range(half):
            angle = place * args.rope_theta ** (-2 * pair / args.head_dim)
            a, b = x[:, place, pair], x[:, place, pair + half]
            turned[:, place, pair] = a * np.cos(angle) - b * np.sin(angle)
            turned[:, place, pair + half] = a * np.sin(angle) + b * np.cos(angle)
    return turned
