"""Affine quantization, w = scale q + bias: the whole numbers q packed in words, a scale and a bias for each group.

A form is a group's size and the bits of a number. MLX has forms of its own; GGUF has groups of 16 besides, which only
the kernels of menny.engine.cpu multiply, and any form may stand in a wider one, of more bits or smaller groups.
"""

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

QuantFormat = tuple[int, int]  # group size, bits
Parts = tuple[mx.array, mx.array, mx.array]
"""Words uint32 [..., out, in * bits / 32]; scales and biases [..., out, groups]."""

Bytes = NDArray[np.uint8]

GROUP_SIZES = (32, 64, 128)  # that MLX's products take
SMALL_GROUP = 16  # that GGUF has besides
BITS = (2, 3, 4, 5, 6, 8)


def pack(numbers: Bytes, bits: int) -> Bytes:
    """Numbers [n, 32] below 2^bits as MLX keeps them: one after the other in a row of bits, the lowest first."""
    if bits == 8:
        return numbers
    if bits == 4:
        pairs = numbers.reshape(-1).view(np.uint16)
        return (pairs | pairs >> np.uint16(4)).astype(np.uint8).reshape(len(numbers), -1)
    words = numbers.reshape(-1).view(np.uint64)  # eight numbers, which fill `bits` bytes
    for width in (8, 16, 32):  # of the parts that are moved together: two of them, then four, then eight
        used = bits * width // 8
        low = sum(((1 << used) - 1) << start for start in range(0, 64, 2 * width))
        words = words & np.uint64(low) | words >> np.uint64(width - used) & np.uint64(low << used)
    return np.ascontiguousarray(words.view(np.uint8).reshape(-1, 8)[:, :bits]).reshape(len(numbers), -1)


def unpack(words: NDArray[np.uint32], bits: int) -> Bytes:
    """The numbers [..., in] in MLX's words [..., in * bits / 32], whose rows are multiples of 32 numbers."""
    if bits == 8:
        return words.view(np.uint8)
    eights = np.zeros((words.nbytes // bits, 8), np.uint8)  # eight numbers fill `bits` bytes of each
    eights[:, :bits] = words.view(np.uint8).reshape(-1, bits)
    packed, mask = eights.view(np.uint64)[:, 0], np.uint64((1 << bits) - 1)
    numbers = np.empty((len(packed), 8), np.uint8)
    for place in range(8):
        numbers[:, place] = packed >> np.uint64(place * bits) & mask
    return numbers.reshape(*words.shape[:-1], -1)


def widen(parts: Parts, form: QuantFormat, wide: QuantFormat) -> Parts:
    """The same weights in as many bits or more, and in groups as large or smaller, which divide the others."""
    words, scales, biases = parts
    if wide[1] != form[1]:
        numbers = unpack(np.array(words), form[1]).reshape(-1, 32)
        words = mx.array(pack(numbers, wide[1]).view(np.uint32).reshape(*words.shape[:-1], -1))
    times = form[0] // wide[0]
    if times > 1:
        scales, biases = (mx.repeat(part, times, axis=-1) for part in (scales, biases))
    return words, scales, biases


def expand(parts: Parts, form: QuantFormat, dtype: mx.Dtype = mx.float32) -> mx.array:
    """The plain weights [..., out, in], computed in this type."""
    words, scales, biases = parts
    scales, biases = scales.astype(dtype), biases.astype(dtype)
    group, bits = form
    if group in GROUP_SIZES:
        return mx.dequantize(words, scales, biases, group, bits)
    numbers = mx.array(unpack(np.array(words), bits)).astype(dtype).reshape(*scales.shape, group)
    return (numbers * scales[..., None] + biases[..., None]).reshape(*scales.shape[:-1], -1)
