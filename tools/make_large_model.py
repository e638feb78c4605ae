"""Random weights of Mistral 7B's true shape in 4 bits, to measure speed and memory with: a GGUF file of 4 to 5 GB.

    python tools/make_large_model.py /tmp/seven.gguf [--type Q4_1 | Q4_0]

Matrices of one shape are alike. Its words mean nothing, but take as long to compute as those of the model whose shape
it has. `python -m menny convert /tmp/seven.gguf /tmp/seven --bits 4 --group-size 32` makes an MLX folder of it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, VOCABULARY, CONTEXT = 4096, 14336, 32, 32, 8, 128, 32000, 32768
BLOCK = 32  # weights, in GGUF
SPREAD = 0.02  # of weights: activations keep their size

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


def blocks(shape: Shape, kind: str, random: np.random.Generator) -> np.ndarray:
    """A matrix of Q4_0 or Q4_1 blocks, as bytes: a scale, in Q4_1 a minimum, and 16 bytes of two weights each."""
    n_blocks = shape[0] * shape[1] // BLOCK
    scales = (SPREAD * (0.2 + 0.1 * random.random(n_blocks, np.float32))).astype(np.float16)
    parts = [scales.view(np.uint8).reshape(-1, 2)]
    if kind == "Q4_1":
        parts.append((scales * np.float16(-7.5)).view(np.uint8).reshape(-1, 2))
    parts.append(np.frombuffer(random.bytes(n_blocks * BLOCK // 2), np.uint8).reshape(-1, BLOCK // 2))
    return np.concatenate(parts, axis=1).reshape(shape[0], -1)


def write_gguf(path: Path, kind: str, layers: int = LAYERS) -> None:
    """One .gguf file, with a vocabulary of bytes and numbered words."""
    random, quantization = np.random.default_rng(0), gguf.GGMLQuantizationType[kind]
    drawn = {shape: blocks(shape, kind, random) for shape in {shape for _, shape in matrices(layers)}}
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
        writer.add_tensor(f"{name}.weight", drawn[shape], raw_dtype=quantization)
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
    parser.add_argument("--type", choices=["Q4_0", "Q4_1"], default="Q4_1")
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer: a smaller file, by the same products")
    asked = parser.parse_args()
    write_gguf(asked.path, asked.type, asked.layers)


if __name__ == "__main__":
    main()
