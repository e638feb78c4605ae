"""Random weights of Mistral 7B's true shape in 4 bits, to measure speed and memory with: a GGUF file of 4 to 5 GB.

    python tools/make_large_model.py /tmp/seven.gguf [--type Q4_1 | Q4_0 | Q4_K_M]

Matrices of one shape are alike. Its words mean nothing, but take as long to compute as those of the model whose shape
it has. `python -m menny convert /tmp/seven.gguf /tmp/seven --bits 4 --group-size 32` makes an MLX folder of it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, VOCABULARY, CONTEXT = 4096, 14336, 32, 32, 8, 128, 32000, 32768
SPREAD = 0.02  # of weights: activations keep their size
PLACES = {  # of a block's scale and minimum among its bytes, and what they are times the spread
    "Q4_0": {0: 1},
    "Q4_1": {0: 1, 2: -7.5},
    "Q4_K": {0: 1 / 32, 2: 7.5 / 32},
    "Q6_K": {208: 1 / 320},
}

Shape = tuple[int, int]


def matrices(layers: int) -> Iterator[tuple[str, Shape]]:
    """GGUF's names and shapes, in the order of the model."""
    yield "token_embd", (VOCABULARY, DIM)
    for layer in range(layers):
        for name, shape in {
            "attn_q": (HEADS * HEAD, DIM),
            "attn_k": (KV_HEADS * HEAD, DIM),
            "attn_v": (KV_HEADS * HEAD, DIM),
            "attn_output": (DIM, HEADS * HEAD),
            "ffn_gate": (HIDDEN, DIM),
            "ffn_up": (HIDDEN, DIM),
            "ffn_down": (DIM, HIDDEN),
        }.items():
            yield f"blk.{layer}.{name}", shape
    yield "output", (VOCABULARY, DIM)


def type_of(name: str, kind: str, layers: int) -> gguf.GGMLQuantizationType:
    """The type of a matrix in a file of this kind; in Q4_K_M some have 6 bits, as llama.cpp chooses them."""
    _, _, rest = name.partition(".")
    layer = int(rest.split(".")[0]) if rest else 0
    has_more_bits = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    is_important = name == "output" or (has_more_bits and name.endswith(("attn_v", "ffn_down")))
    return gguf.GGMLQuantizationType[{"Q4_K_M": "Q6_K" if is_important else "Q4_K"}.get(kind, kind)]


def blocks(shape: Shape, kind: gguf.GGMLQuantizationType, random: np.random.Generator) -> np.ndarray:
    """A matrix of this type, as bytes: random bits, and scales and minima that keep weights small around zero."""
    size, nbytes = gguf.GGML_QUANT_SIZES[kind]
    n_blocks = shape[0] * shape[1] // size
    drawn = np.frombuffer(random.bytes(n_blocks * nbytes), np.uint8).reshape(n_blocks, nbytes).copy()
    spread = SPREAD * (0.2 + 0.1 * random.random(n_blocks, np.float32))
    for place, factor in PLACES[kind.name].items():
        drawn[:, place : place + 2] = (spread * factor).astype(np.float16).view(np.uint8).reshape(-1, 2)
    return drawn.reshape(shape[0], -1)


def write_gguf(path: Path, kind: str, layers: int = LAYERS) -> None:
    """One .gguf file, with a vocabulary of bytes and numbered words."""
    random = np.random.default_rng(0)
    types = {name: type_of(name, kind, layers) for name, _ in matrices(layers)}
    alike = dict.fromkeys((shape, types[name]) for name, shape in matrices(layers))
    drawn = {(shape, of): blocks(shape, of, random) for shape, of in alike}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIM)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    add_vocabulary(writer)
    ones = np.ones(DIM, np.float32)
    for name, shape in matrices(layers):
        writer.add_tensor(f"{name}.weight", drawn[shape, types[name]], raw_dtype=types[name])
        for norm in {"attn_q": ("attn_norm", "ffn_norm")}.get(name.split(".")[-1], ()):
            writer.add_tensor(f"{name.rsplit('.', 1)[0]}.{norm}.weight", ones)
    writer.add_tensor("output_norm.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """SentencePiece's kind: control tokens, bytes, and words that nobody writes."""
    pieces = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    types = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    pieces += [f"▁w{number}" for number in range(len(pieces), VOCABULARY)]
    types += [gguf.TokenType.NORMAL] * (VOCABULARY - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([-float(number) for number in range(VOCABULARY)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--type", choices=["Q4_0", "Q4_1", "Q4_K_M"], default="Q4_1")
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer: a smaller file, by the same products")
    asked = parser.parse_args()
    write_gguf(asked.path, asked.type, asked.layers)


if __name__ == "__main__":
    main()
