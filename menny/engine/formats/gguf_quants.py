"""ggml's quantized blocks, taken apart in numpy (their layouts: block_q4_0 and its like in ggml-common.h).

A block's groups of weights share a scale and a minimum, which is what affine quantization is: w = scale q + bias. So
nothing is lost, and weights stay as small as in the file, or nearly: the K-quants of 2, 3 and 6 bits have groups of 16,
which MLX lacks, and stand in 8 bits.

A K-quant is a block of 256 weights, whose groups' scales are numbers of 4 to 8 bits themselves, times the block's d.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menny.engine.checkpoints.quantization import SMALL_GROUP, Bytes

GROUP = 32
_1, _2, _3, _4 = map(np.uint8, (1, 2, 3, 4))  # with these, numbers stay bytes
_HALVES = np.uint64(0), np.uint64(4)  # where the halves of a byte begin
_LOW_HALVES, _TOP_BITS = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x8080808080808080)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Groups:
    """Weights w = scale q + bias: q [n, 32] or [n, 16] from 0 up, scales and biases [n, 1]."""

    numbers: Bytes
    scales: NDArray[np.floating]
    biases: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Grouped:
    """How blocks are unpacked into groups, and what comes out."""

    unpack: Callable[[Bytes], Groups]
    bits: int
    group: int = GROUP  # weights
    scale_bytes: int = 2  # and of a bias
    has_biases: bool = True  # of their own; else each follows from its scale, as the zero is in the middle


def _q4_0(blocks: Bytes) -> Groups:
    """d, then 16 bytes: w = d (q - 8)."""
    d = _halves(blocks, 0)
    return Groups(_nibbles(blocks[:, 2:]), d, -8 * d)


def _q4_1(blocks: Bytes) -> Groups:
    """d and m, then 16 bytes: w = d q + m."""
    return Groups(_nibbles(blocks[:, 4:]), _halves(blocks, 0), _halves(blocks, 2))


def _q5_0(blocks: Bytes) -> Groups:
    """d, the 32 fifth bits, then 16 bytes: w = d (q - 16)."""
    d = _halves(blocks, 0)
    return Groups(_nibbles(blocks[:, 6:]) | _bits(blocks[:, 2:6]) << _4, d, -16 * d)


def _q5_1(blocks: Bytes) -> Groups:
    """d and m, the 32 fifth bits, then 16 bytes: w = d q + m."""
    numbers = _nibbles(blocks[:, 8:]) | _bits(blocks[:, 4:8]) << _4
    return Groups(numbers, _halves(blocks, 0), _halves(blocks, 2))


def _q8_0(blocks: Bytes) -> Groups:
    """d, then 32 signed bytes: w = d q, and MLX's q is never below 0."""
    d = _halves(blocks, 0)
    return Groups((_words(blocks[:, 2:]) ^ _TOP_BITS).view(np.uint8), d, -128 * d)


def _q4_k(blocks: Bytes) -> Groups:
    """d and dmin, 8 scales and minima, then 128 bytes, 32 of which hold two groups: w = d scale q - dmin minimum."""
    numbers = _nibbles(blocks[:, 16:].reshape(-1, 32))
    return _scaled(blocks, numbers.reshape(-1, GROUP))


def _q5_k(blocks: Bytes) -> Groups:
    """A Q4_K block with a fifth bit: that of group g's number l is bit g of byte l of 32, before the 128."""
    fifth = blocks[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & _1  # [n, 8, 32]
    numbers = _nibbles(blocks[:, 48:].reshape(-1, 32)).reshape(-1, GROUP)
    return _scaled(blocks, numbers | fifth.reshape(-1, GROUP) << _4)


def _scaled(blocks: Bytes, numbers: Bytes) -> Groups:
    """The groups of a Q4_K or Q5_K block. Of its 12 bytes the first 4 have the first 4 scales in their low 6 bits, the
    next 4 the first 4 minima; the last 4 have the other scales and minima as nibbles, and their high bits are the
    first 8 bytes' top 2."""
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=1)  # [n, 8]
    minima = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=1)
    d, dmin = (_halves(blocks, place).astype(np.float32) for place in (0, 2))
    return Groups(numbers, (d * scales).reshape(-1, 1), (-dmin * minima).reshape(-1, 1))


def _q2_k(blocks: Bytes) -> Groups:
    """16 scales and minima as nibbles, 64 bytes, d and dmin: w = d scale q - dmin minimum."""
    d, dmin = (_halves(blocks, place).astype(np.float32) for place in (80, 82))
    scales, minima = d * (blocks[:, :16] & 15), dmin * (blocks[:, :16] >> 4)  # [n, 16]
    return _in_sixteens(_pairs(blocks[:, 16:80]), scales, -minima)


def _q3_k(blocks: Bytes) -> Groups:
    """256 third bits, 64 bytes, 16 scales of 6 bits in 12 bytes, and d: w = d (scale - 32) (q - 4).

    The first 8 bytes have the scales' low nibbles, the last 4 their high bits in pairs.
    """
    low, high = blocks[:, 96:104], blocks[:, 104:108]
    nibbles = np.concatenate([low & 15, low >> 4], axis=1)
    tops = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    scales = _halves(blocks, 108).astype(np.float32) * ((nibbles | tops << 4).astype(np.int8) - 32)  # [n, 16]
    third = blocks[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None] & _1  # [n, 8, 32]
    return _around_zero(_pairs(blocks[:, 32:96]) | third.reshape(-1, 256) << _2, 4, scales)


def _q6_k(blocks: Bytes) -> Groups:
    """128 bytes of low nibbles, 64 of high bits in pairs, 16 signed scales, and d: w = d scale (q - 32)."""
    low = blocks[:, :128].reshape(-1, 2, 64)
    nibbles = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 256)
    scales = _halves(blocks, 208).astype(np.float32) * blocks[:, 192:208].view(np.int8)  # [n, 16]
    return _around_zero(nibbles | _pairs(blocks[:, 128:192]) << _4, 32, scales)


def _around_zero(numbers: Bytes, zero: int, scales: Floats) -> Groups:
    """Groups of 16 in 8 bits, w = scale (q - zero): moved, so that the zero is in the middle as in Q8_0."""
    return _in_sixteens(numbers + np.uint8(128 - zero), scales, -128 * scales)


def _in_sixteens(numbers: Bytes, scales: Floats, biases: Floats) -> Groups:
    """The groups of blocks of numbers [n, 256], with scales and biases [n, 16]."""
    return Groups(numbers.reshape(-1, SMALL_GROUP), scales.reshape(-1, 1), biases.reshape(-1, 1))


def _halves(blocks: Bytes, place: int) -> NDArray[np.float16]:
    """The float16 at this place of every block [n, 1]."""
    return blocks[:, place : place + 2].copy().view(np.float16)


def _nibbles(packed: Bytes) -> Bytes:
    """[n, m] bytes → [n, 2 m] numbers: first the low halves of all, then the high ones; m is a multiple of 16."""
    n, m = packed.shape
    words = _words(packed)
    both = np.empty((n, 2, m // 16), np.complex128)  # which stands for 16 bytes that are copied at once
    both[:, 0], both[:, 1] = ((words >> start & _LOW_HALVES).view(np.complex128) for start in _HALVES)
    return both.view(np.uint8).reshape(n, 2 * m)


def _words(numbers: Bytes) -> NDArray[np.uint64]:
    """[n, m] bytes → [n, m / 8], eight at a time: NumPy has a long way from one short row to the next."""
    return np.ascontiguousarray(numbers).view(np.uint64)


def _bits(packed: Bytes) -> Bytes:
    """[n, m] bytes → [n, 8 m] bits, the lowest of each byte first."""
    return np.unpackbits(packed, axis=1, bitorder="little")


def _pairs(packed: Bytes) -> Bytes:
    """64 bytes → 256 numbers of 2 bits: those of the first 32 bytes by their places in a byte, then of the others."""
    parts = packed.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & _3  # [n, 2, 4, 32]
    return parts.reshape(-1, 256)


GROUPED = {
    "Q4_0": Grouped(_q4_0, 4, has_biases=False),
    "Q4_1": Grouped(_q4_1, 4),
    "Q5_0": Grouped(_q5_0, 5, has_biases=False),
    "Q5_1": Grouped(_q5_1, 5),
    "Q8_0": Grouped(_q8_0, 8, has_biases=False),
    "Q2_K": Grouped(_q2_k, 8, SMALL_GROUP, scale_bytes=4),
    "Q3_K": Grouped(_q3_k, 8, SMALL_GROUP, scale_bytes=4, has_biases=False),
    "Q4_K": Grouped(_q4_k, 4, scale_bytes=4),
    "Q5_K": Grouped(_q5_k, 5, scale_bytes=4),
    "Q6_K": Grouped(_q6_k, 8, SMALL_GROUP, scale_bytes=4, has_biases=False),
}
