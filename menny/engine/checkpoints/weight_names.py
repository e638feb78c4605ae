"""What the formats call a model's weights, and this engine's names for them (those of the reference implementation)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KINDS = ("weight", "scales", "biases")  # the latter two where a weight is quantized
COMPUTED = ("rotary_emb.inv_freq", "rope.freqs")  # endings of what old exports carry beside the weights

_NUMBER = re.compile(r"\.(0|[1-9][0-9]*)(?=\.|$)")


@dataclass(frozen=True)
class WeightNames:
    """One format's names: what stands before a layer's number, and its modules by this engine's name.

    `#` stands for an expert's number. Experts may be stacked into one weight, or each have its own.
    """

    layers: str
    outer: Mapping[str, str]
    inner: Mapping[str, str]  # of a layer
    bare: str = "(?!)"  # a pattern of keys that are a weight without saying so

    def ours(self, key: str) -> str | None:
        """A key of this format under this engine's name, or None for one that is not a Mistral's."""
        stem, _, kind = (f"{key}.weight" if re.fullmatch(self.bare, key) else key).rpartition(".")
        layer = re.fullmatch(rf"{re.escape(self.layers)}\.(0|[1-9][0-9]*)\.(.+)", stem)
        modules, module = (self.inner, layer[2]) if layer else (self.outer, stem)
        expert = _NUMBER.search(module)
        module = _NUMBER.sub(".#", module, count=1)
        name = next((ours for ours, theirs in modules.items() if theirs == module), None)
        if name is None or kind not in KINDS or "#" in key:
            return None
        name = name.replace("#", expert[1]) if expert else name
        return f"layers.{layer[1]}.{name}.{kind}" if layer else f"{name}.{kind}"

    def theirs(self, name: str) -> str:
        """The key that this format has for a weight of this engine's name."""
        stem, _, kind = name.rpartition(".")
        if not stem.startswith("layers."):
            return f"{self.outer[stem]}.{kind}"
        _, number, module = stem.split(".", 2)
        expert = _NUMBER.search(module)
        theirs = self.inner[_NUMBER.sub(".#", module, count=1)]
        module = f"{self.layers}.{number}.{theirs.replace('#', expert[1] if expert else '#')}"
        return module if re.fullmatch(self.bare, module) else f"{module}.{kind}"

    def knows(self, keys: Iterable[str]) -> int:
        """How many of these keys are of this format."""
        return sum(self.ours(key) is not None for key in keys)


HUB = WeightNames(
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
        "feed_forward.gate": "block_sparse_moe.gate",
        "feed_forward.experts.w1": "block_sparse_moe.switch_mlp.gate_proj",
        "feed_forward.experts.w2": "block_sparse_moe.switch_mlp.down_proj",
        "feed_forward.experts.w3": "block_sparse_moe.switch_mlp.up_proj",
        "feed_forward.experts.#.w1": "block_sparse_moe.experts.#.w1",
        "feed_forward.experts.#.w2": "block_sparse_moe.experts.#.w2",
        "feed_forward.experts.#.w3": "block_sparse_moe.experts.#.w3",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    },
)

GGUF = WeightNames(
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
        "feed_forward.gate": "ffn_gate_inp",
        "feed_forward.experts.w1": "ffn_gate_exps",
        "feed_forward.experts.w2": "ffn_down_exps",
        "feed_forward.experts.w3": "ffn_up_exps",
        "feed_forward.experts.#.w1": "ffn_gate.#",
        "feed_forward.experts.#.w2": "ffn_down.#",
        "feed_forward.experts.#.w3": "ffn_up.#",
        "attention_norm": "attn_norm",
        "ffn_norm": "ffn_norm",
    },
)

# The text model of a Mistral with a vision tower, by the older naming and the newer one.
NESTED = WeightNames(
    "language_model.model.layers",
    {
        "tok_embeddings": "language_model.model.embed_tokens",
        "norm": "language_model.model.norm",
        "output": "language_model.lm_head",
    },
    HUB.inner,
)
NESTED_IN_MODEL = WeightNames(
    "model.language_model.layers",
    {
        "tok_embeddings": "model.language_model.embed_tokens",
        "norm": "model.language_model.norm",
        "output": "lm_head",
    },
    HUB.inner,
)
VISION = (  # what such a model's keys begin with that sees pictures: Menny reads text
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "vision_encoder.",
    "vision_language_adapter.",
    "patch_merger.",
    "pre_mm_projector_norm.",
)

_SAME = [name for name in HUB.inner if not name.startswith("feed_forward.experts.w")]

REFERENCE = WeightNames("layers", {name: name for name in HUB.outer}, {name: name for name in _SAME})

BLOCK_SPARSE = WeightNames(  # Mixtral's first files on the hub: a layer's experts one below the other, for MegaBlocks
    "layers",
    REFERENCE.outer,
    {name: name for name in _SAME if ".experts." not in name}
    | {"feed_forward.gate": "block_sparse_moe.gate"}
    | {f"feed_forward.experts.{w}": f"block_sparse_moe.{w}" for w in ("w1", "w2", "w3")},
    bare=r"layers\.[0-9]+\.block_sparse_moe\.w[123]",
)
