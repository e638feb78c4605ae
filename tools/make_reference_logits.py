"""Computes the logits that the engine is held to, by transformers in float32, and stores them in tests/reference.

Run once, in an environment of its own: torch 2.13.0 (CPU), transformers 5.24.0, numpy. (5.23.0 made the models whose
files say so.)

    python -m tools.make_reference_logits

Weights aren't stored: both sides draw them from a seed (tools/random_weights.py), as float16's values, so that a file
in half precision holds them exactly. Each .npz has the model's config as JSON, token ids [B, L] and float32 logits
[B, L, V]. pytorch.pth is a small checkpoint by torch.save itself.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from tools.random_weights import draw

FOLDER = Path(__file__).parents[1] / "tests" / "reference"
LENGTH, VOCAB_SIZE = 40, 64

BASE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": VOCAB_SIZE,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
}
SPARSE = {"num_local_experts": 8, "num_experts_per_tok": 2}

# An original context of 16 tokens, so that the scalings show within the 40 that are computed.
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 16.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "original_max_position_embeddings": 16,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
SHARP = {**YARN, "rope_theta": 1e8, "factor": 4.0, "beta_fast": 4.0, "mscale_all_dim": 0.0, "llama_4_scaling_beta": 0.0}
TYPES = ["sliding_attention", "full_attention"]

MODELS: dict[str, tuple[str, dict[str, Any], int]] = {  # model_type, what differs from BASE, and B
    "mistral": ("mistral", {"sliding_window": None, "rope_theta": 1e6}, 1),
    "mistral_window": ("mistral", {"sliding_window": 8, "rope_theta": 1e4}, 1),
    "mistral_window_batch": ("mistral", {"sliding_window": 8, "rope_theta": 1e4}, 4),
    "mistral_tied": ("mistral", {"sliding_window": None, "rope_theta": 1e6, "tie_word_embeddings": True}, 4),
    "llama": ("llama", {"rope_theta": 1e4, "head_dim": 16}, 1),
    "mixtral": ("mixtral", {**SPARSE, "sliding_window": None, "rope_theta": 1e6}, 1),
    "mixtral_batch": ("mixtral", {**SPARSE, "sliding_window": None, "rope_theta": 1e6}, 4),
    "mixtral_window_tied": (
        "mixtral",
        {**SPARSE, "sliding_window": 8, "rope_theta": 1e4, "tie_word_embeddings": True, "num_key_value_heads": 1},
        1,
    ),
    "ministral3": ("ministral3", {"sliding_window": None, "rope_parameters": {**YARN, "rope_theta": 1e9}}, 1),
    "ministral3_tied": (
        "ministral3",
        {"sliding_window": None, "rope_parameters": YARN, "tie_word_embeddings": True},
        2,
    ),
    "ministral3_window": ("ministral3", {"sliding_window": 24, "rope_parameters": YARN}, 1),
    "ministral3_sharp": ("ministral3", {"sliding_window": None, "rope_parameters": SHARP}, 1),
    "ministral": (
        "ministral",
        {"sliding_window": 8, "layer_types": TYPES, "rope_parameters": {"rope_type": "default", "rope_theta": 1e8}},
        1,
    ),
    "llama3": ("llama", {"rope_parameters": LLAMA3, "head_dim": 16}, 1),
    "llama_linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}, 1),
}


def hub_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of the published files, one matrix an expert."""
    dim, hidden, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB_SIZE, dim), "model.norm.weight": (dim,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (VOCAB_SIZE, dim)
    for layer in range(config["num_hidden_layers"]):
        block: dict[str, tuple[int, ...]] = {
            "self_attn.q_proj": (queries, dim),
            "self_attn.k_proj": (keys, dim),
            "self_attn.v_proj": (keys, dim),
            "self_attn.o_proj": (dim, queries),
            "input_layernorm": (dim,),
            "post_attention_layernorm": (dim,),
        }
        if "num_local_experts" in config:
            block["block_sparse_moe.gate"] = (config["num_local_experts"], dim)
            for expert in range(config["num_local_experts"]):
                module = f"block_sparse_moe.experts.{expert}"
                block |= {f"{module}.w1": (hidden, dim), f"{module}.w2": (dim, hidden), f"{module}.w3": (hidden, dim)}
        else:
            block |= {"mlp.gate_proj": (hidden, dim), "mlp.down_proj": (dim, hidden), "mlp.up_proj": (hidden, dim)}
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes


def logits_by_transformers(config: dict[str, Any], weights: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """One pass in float32, by the plain attention; the weights go in by a folder, as published ones do."""
    folder = FOLDER / "model"
    folder.mkdir()
    try:
        (folder / "config.json").write_text(json.dumps(config))
        tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
        transformers.utils.logging.set_verbosity_error()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not loading["missing_keys"], loading
        assert not loading["unexpected_keys"], loading
        with torch.no_grad():
            return model.eval()(torch.from_numpy(tokens)).logits.numpy()
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def write_checkpoint() -> None:
    """What torch.save itself writes, in all three types; one tensor is a transposed view of a part of a storage."""
    numbers = torch.arange(24, dtype=torch.float32) / 8
    torch.save(
        {
            "float32": numbers.reshape(4, 6),
            "float16": numbers.reshape(2, 12).half(),
            "bfloat16": numbers.reshape(24).bfloat16(),
            "a view": numbers.reshape(4, 6)[1:3].T,
        },
        FOLDER / "pytorch.pth",
    )


def main() -> None:
    """Write the files of tests/reference that aren't there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, (name, (model_type, changes, batch)) in enumerate(MODELS.items()):
        if (FOLDER / f"{name}.npz").exists():
            continue  # delete a file to have it made again
        config = {"model_type": model_type, **BASE, **changes}
        weights = draw(hub_shapes(config), seed)
        tokens = np.random.default_rng(1000 + seed).integers(0, VOCAB_SIZE, (batch, LENGTH))
        logits = logits_by_transformers(config, weights, tokens)
        made_by = {"torch": torch.__version__, "transformers": transformers.__version__, "seed": seed}
        texts = {"config": json.dumps(config), "made_by": json.dumps(made_by)}
        np.savez_compressed(FOLDER / f"{name}.npz", tokens=tokens, logits=logits, **texts)
        print(name, logits.shape, float(np.abs(logits).max()))
    if not (FOLDER / "pytorch.pth").exists():
        write_checkpoint()


if __name__ == "__main__":
    main()
