"""The tensors of a GGUF file as MLX arrays: plain numbers as they are, and ggml's blocks as MLX's affine quantization.

A block of 32 weights shares a scale d (and in Q4_1 a minimum m); MLX keeps the same as groups of 32 with w = scale * q
+ bias, so nothing is lost (ggml's block_q4_0, block_q4_1 and block_q8_0). Read through numpy: `mx.load` wants to write
to the file, and trusts what it reads.
"""

import mmap
from collections.abc import Callable, Container, Iterator

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from menny.engine.gguf import GGUFFile, GGUFTensor
from menny.engine.names import KINDS
from menny.errors import ModelError

GROUP = 32

Bytes = NDArray[np.uint8]
Quantized = tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.float16]]  # packed bytes, scales, biases


def kinds(file: GGUFFile, tensor: GGUFTensor) -> tuple[str, ...]:
    """The arrays that a tensor becomes: weight, and scales and biases where it is quantized."""
    if tensor.type_name not in READERS:
        known = ", ".join(READERS)
        raise ModelError(f"{file.path}: tensor {tensor.name} is {tensor.type_name}; take a file in {known}")
    return KINDS if tensor.type_name.startswith("Q") else KINDS[:1]


def read_tensors(file: GGUFFile, wanted: Container[str]) -> Iterator[tuple[str, dict[str, mx.array]]]:
    """The tensors of these names, one after the other, each as the arrays that `kinds` tells."""
    try:
        with file.path.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            for tensor in file.tensors.values():
                if tensor.name not in wanted:
                    continue
                # a copy: the arrays outlive the mapping
                data = np.frombuffer(mapped, np.uint8, tensor.nbytes, tensor.offset).copy()
                yield tensor.name, READERS[tensor.type_name](data, tensor)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.path} can't be read ({error}): get the file again") from error


def _plain(dtype: type[np.generic]) -> Callable[[Bytes, GGUFTensor], dict[str, mx.array]]:
    return lambda data, tensor: {"weight": mx.array(data.view(dtype).reshape(tensor.shape))}


def _bfloat16(data: Bytes, tensor: GGUFTensor) -> dict[str, mx.array]:
    return {"weight": mx.array(data.view(np.uint16).reshape(tensor.shape)).view(mx.bfloat16)}


def _quantized(unpack: Callable[[Bytes], Quantized], block: int) -> Callable[[Bytes, GGUFTensor], dict[str, mx.array]]:
    def read(data: Bytes, tensor: GGUFTensor) -> dict[str, mx.array]:
        *rows, width = tensor.shape
        packed, scales, biases = unpack(data.reshape(-1, block))
        groups = (*rows, width // GROUP)
        return {
            "weight": mx.array(packed.view(np.uint32).reshape(*rows, -1)),
            "scales": mx.array(scales.reshape(groups)),
            "biases": mx.array(biases.reshape(groups)),
        }

    return read


def _q4_0(blocks: Bytes) -> Quantized:
    """d, then 16 bytes: w = d (q - 8)."""
    scales = blocks[:, :2].copy().view(np.float16)
    return _repack(blocks[:, 2:]), scales, -8 * scales


def _q4_1(blocks: Bytes) -> Quantized:
    """d and m, then 16 bytes: w = d q + m."""
    return _repack(blocks[:, 4:]), blocks[:, :2].copy().view(np.float16), blocks[:, 2:4].copy().view(np.float16)


def _q8_0(blocks: Bytes) -> Quantized:
    """d, then 32 signed bytes: w = d q, and MLX's q is never below 0."""
    scales = blocks[:, :2].copy().view(np.float16)
    return blocks[:, 2:] ^ np.uint8(0x80), scales, -128 * scales


def _repack(nibbles: Bytes) -> Bytes:
    """ggml keeps weights 0-15 in the low and 16-31 in the high halves of 16 bytes; MLX keeps neighbours together."""
    low, high = nibbles & 0xF, nibbles >> 4
    pairs: Bytes = np.concatenate([low[:, 0::2] | low[:, 1::2] << 4, high[:, 0::2] | high[:, 1::2] << 4], axis=1)
    return pairs


READERS: dict[str, Callable[[Bytes, GGUFTensor], dict[str, mx.array]]] = {
    "F32": _plain(np.float32),
    "F16": _plain(np.float16),
    "BF16": _bfloat16,
    "Q4_0": _quantized(_q4_0, 18),
    "Q4_1": _quantized(_q4_1, 20),
    "Q8_0": _quantized(_q8_0, 34),
}
