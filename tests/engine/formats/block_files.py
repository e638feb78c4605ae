"""Writes tensors in ggml's block types, with numbers that gguf, llama.cpp's own package, tells.

The package quantizes to some types only, so blocks are random bits around scales that keep weights near 1 / sqrt(256),
and what they stand for is what its dequantizers say. Equal rows become equal blocks: a permutation of rows stays one.
"""

import zlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
from numpy.typing import NDArray

SCALES = {  # where a block's float16 scale and minimum stand, and what they are
    "Q5_0": {0: 4e-3},
    "Q5_1": {0: 4e-3, 2: -6.2e-2},
    "Q2_K": {80: 3e-3, 82: 4.5e-3},
    "Q3_K": {108: 1e-3},
    "Q4_K": {0: 1e-4, 2: 7.5e-4},
    "Q5_K": {0: 5e-5, 2: 7.75e-4},
    "Q6_K": {208: 3e-5},
}


def encode(weight: NDArray[np.float32], kind: str) -> tuple[bytes, NDArray[np.float32], int]:
    """The bytes of a tensor of this shape, the numbers that they stand for, and ggml's number of the type."""
    ggml_type = GGMLQuantizationType[kind]
    size, nbytes = GGML_QUANT_SIZES[ggml_type]
    blocks = np.stack([_block(block, kind, nbytes) for block in weight.reshape(-1, size)])
    return blocks.tobytes(), dequantize(blocks, ggml_type).reshape(weight.shape), int(ggml_type)


def _block(weights: NDArray[np.float32], kind: str, nbytes: int) -> NDArray[np.uint8]:
    """A block that these weights and nothing else decide on."""
    block = np.random.default_rng(zlib.crc32(weights.tobytes())).integers(0, 256, nbytes, np.uint8)
    for place, scale in SCALES[kind].items():
        block[place : place + 2] = np.frombuffer(np.float16(scale * (1 + abs(weights[0]) / 8)).tobytes(), np.uint8)
    return block
