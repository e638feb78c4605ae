"""What the formats call a model's weights, and this engine's names for them (those of the reference implementation)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

KINDS = ("weight", "scales", "biases")  # the latter two where a weight is quantized


@dataclass(frozen=True)
class Names:
    """One format's names: what stands before a layer's number, and its modules by this engine's name."""

    layers: str
    outer: Mapping[str, str]
    inner: Mapping[str, str]  # of a layer

    def ours(self, key: str) -> str | None:
        """A key of this format under this engine's name, or None for one that is not a Mistral's."""
        stem, _, kind = key.rpartition(".")
        layer = re.fullmatch(rf"{re.escape(self.layers)}\.(0|[1-9][0-9]*)\.(.+)", stem)
        modules, module = (self.inner, layer[2]) if layer else (self.outer, stem)
        name = next((ours for ours, theirs in modules.items() if theirs == module), None)
        if name is None or kind not in KINDS:
            return None
        return f"layers.{layer[1]}.{name}.{kind}" if layer else f"{name}.{kind}"

    def theirs(self, name: str) -> str:
        """The key that this format has for a weight of this engine's name."""
        stem, _, kind = name.rpartition(".")
        if not stem.startswith("layers."):
            return f"{self.outer[stem]}.{kind}"
        _, number, module = stem.split(".", 2)
        return f"{self.layers}.{number}.{self.inner[module]}.{kind}"


HUB = Names(
    "model.layers",
    {"tok_embeddings": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"},
    {
        "attention.wq": "self_attn.q_proj",
        "attention.wk": "self_attn.k_proj",
        "attention.wv": "self_attn.v_proj",
        "attention.wo": "self_attn.o_proj",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w2": "mlp.down_proj",
        "feed_forward.w3": "mlp.up_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    },
)

GGUF = Names(
    "blk",
    {"tok_embeddings": "token_embd", "norm": "output_norm", "output": "output"},
    {
        "attention.wq": "attn_q",
        "attention.wk": "attn_k",
        "attention.wv": "attn_v",
        "attention.wo": "attn_output",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up",
        "attention_norm": "attn_norm",
        "ffn_norm": "ffn_norm",
    },
)
