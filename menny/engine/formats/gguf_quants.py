"""ggml's quantized blocks, taken apart in numpy (their layouts: block_q4_0 and its like in ggml-common.h).

Two families come out of here. Blocks whose groups of 32 weights share a scale and a minimum are what MLX's affine
quantization is, w = scale q + bias, so they stay as small as they are in the file: `GROUPED`. The K-quants of 2, 3 and
6 bits have groups of 16, which MLX lacks, so they become plain numbers: `EXPANDED`.

A K-quant is a block of 256 weights, whose groups' scales are numbers of 4 to 8 bits themselves, times the block's d.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUP = 32
_1, _2, _3, _4 = map(np.uint8, (1, 2, 3, 4))  # with these, numbers stay bytes
_HALVES = np.uint64(0), np.uint64(4)  # where the halves of a byte begin
_LOW_HALVES, _TOP_BITS = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x8080808080808080)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Groups:
    """Weights w = scale q + bias: q [n, 32] from 0 up, scales and biases [n, 1]."""

    numbers: Bytes
    scales: NDArray[np.floating]
    biases: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Grouped:
    """The bits of grouped numbers, and how blocks are unpacked into groups."""

    bits: int
    unpack: Callable[[Bytes], Groups]


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


def _q2_k(blocks: Bytes) -> Floats:
    """16 scales and minima as nibbles, 64 bytes, d and dmin: w = d scale q - dmin minimum."""
    d, dmin = (_halves(blocks, place).astype(np.float32) for place in (80, 82))
    scales, minima = d * (blocks[:, :16] & 15), dmin * (blocks[:, :16] >> 4)  # [n, 16]
    return _in_sixteens(_pairs(blocks[:, 16:80]), scales) - minima[..., None]


def _q3_k(blocks: Bytes) -> Floats:
    """256 third bits, 64 bytes, 16 scales of 6 bits in 12 bytes, and d: w = d (scale - 32) (q - 4).

    The first 8 bytes have the scales' low nibbles, the last 4 their high bits in pairs.
    """
    low, high = blocks[:, 96:104], blocks[:, 104:108]
    nibbles = np.concatenate([low & 15, low >> 4], axis=1)
    tops = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    scales = _halves(blocks, 108).astype(np.float32) * ((nibbles | tops << 4).astype(np.int8) - 32)  # [n, 16]
    third = blocks[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None] & _1  # [n, 8, 32]
    numbers = (_pairs(blocks[:, 32:96]) | third.reshape(-1, 256) << _2).astype(np.int8) - np.int8(4)
    return _in_sixteens(numbers, scales)


def _q6_k(blocks: Bytes) -> Floats:
    """128 bytes of low nibbles, 64 of high bits in pairs, 16 signed scales, and d: w = d scale (q - 32)."""
    low = blocks[:, :128].reshape(-1, 2, 64)
    nibbles = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 256)
    numbers = (nibbles | _pairs(blocks[:, 128:192]) << _4).astype(np.int8) - np.int8(32)
    scales = _halves(blocks, 208).astype(np.float32) * blocks[:, 192:208].view(np.int8)  # [n, 16]
    return _in_sixteens(numbers, scales)


def _in_sixteens(numbers: NDArray[np.integer], scales: Floats) -> Floats:
    """Blocks of numbers [n, 256] times the scales [n, 16] of their groups → [n, 16, 16]."""
    weights: Floats = numbers.reshape(-1, 16, 16) * scales[..., None]
    return weights


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
    "Q4_0": Grouped(4, _q4_0),
    "Q4_1": Grouped(4, _q4_1),
    "Q5_0": Grouped(5, _q5_0),
    "Q5_1": Grouped(5, _q5_1),
    "Q8_0": Grouped(8, _q8_0),
    "Q4_K": Grouped(4, _q4_k),
    "Q5_K": Grouped(5, _q5_k),
}

EXPANDED: dict[str, Callable[[Bytes], Floats]] = {"Q2_K": _q2_k, "Q3_K": _q3_k, "Q6_K": _q6_k}
