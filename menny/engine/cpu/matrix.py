"""A matrix of weights as a processor's kernels read it: as it is in the file, with every 16 rows interleaved.

| form | words [rows / 16, columns / c, 16] | scales and biases |
| --- | --- | --- |
| 4 bits, 8 bits | uint32 with c = 8 or 4 columns | see scales.py |
| bfloat16, float16, float32 | one number, c = 1 | |

Numbers of 2 and 3 bits stand in 4, those of 5 and 6 in 8: they mean the same. Biases that follow from their scales
aren't kept: where a weight is s (q - 8), or in 8 bits s (q - 128), as in GGUF's Q4_0 and Q8_0. Rows are filled up with
zeros to a multiple of 16; in a stack of experts' matrices, those of each.
"""

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from menny.engine.checkpoints.quantization import BITS, GROUP_SIZES, SMALL_GROUP, unpack
from menny.engine.checkpoints.quantization import pack as pack_numbers
from menny.engine.cpu.arrays import address_of, in_order
from menny.engine.cpu.memory import Arena
from menny.engine.cpu.scales import FLOAT32, ROWS, as_floats, form_of, interleaved, small_as_exact

WIDTH_UNIT = 4  # columns of plain numbers that a kernel takes at once
NARROW, WIDE = 4, 8  # bits of packed numbers

_FIELDS = "words", "scales", "biases", "scale_form", "rows", "row_bytes", "width", "group", "tile", "tile_of_four"
DESCRIPTION = np.dtype([(name, np.int64) for name in _FIELDS])
_TYPES = {mx.bfloat16: "bfloat16", mx.float16: "float16", mx.float32: "float32"}


@dataclass(frozen=True)
class Packed:
    """Weights [..., out, in]; with scales and biases if they are whole numbers in groups."""

    form: str
    shape: tuple[int, ...]
    words: np.ndarray
    scales: np.ndarray | None = None
    biases: np.ndarray | None = None  # None beside scales: the zero is in the middle
    group: int = 0  # columns that share a scale; 0: there are no scales
    scale_type: mx.Dtype = mx.float32  # that the scales had before

    @property
    def bits(self) -> int:
        """Bits of a weight."""
        return int(self.form.split()[0]) if self.group else 8 * self.words.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the weights; rows that fill it up aren't counted."""
        whole = sum(part.nbytes for part in (self.words, self.scales, self.biases) if part is not None)
        return whole * self.shape[-2] // self.rows

    @property
    def rows(self) -> int:
        """Rows of one matrix of the stack, filled up."""
        return -(-self.shape[-2] // ROWS) * ROWS

    def description(self, tile: int, tile_of_four: int) -> tuple[int, ...]:
        """DESCRIPTION's numbers, with the addresses of its form's tiles. The arrays must outlive it."""
        scales, biases = (0 if part is None else address_of(part) for part in (self.scales, self.biases))
        form = FLOAT32 if self.scales is None else form_of(self.scales, self.group)
        rows, width = self.rows, self.shape[-1]
        row_bytes = self.words.nbytes // (ROWS * self.words.shape[0])
        return (
            address_of(self.words), scales, biases, form, rows, row_bytes, width, self.group, tile, tile_of_four
        )  # fmt: skip

    def weights(self) -> mx.array:
        """The plain weights again, as they were."""
        numbers = _separate(self.words, self.shape)
        return mx.array(numbers).view(_type_of(self.form)) if self.form != "float32" else mx.array(numbers)

    def quantized(self) -> tuple[mx.array, mx.array, mx.array]:
        """Words, scales and biases again, as MLX has them."""
        assert self.scales is not None  # noqa: S101
        words = _separate(self.words, (*self.shape[:-1], self.shape[-1] * self.bits // 32))
        if self.form == "8 bits":
            words = _swap_halves(words)
        groups = (*self.shape[:-1], self.shape[-1] // self.group)
        scales = _separate(as_floats(self.scales), groups)
        biases = _middle(scales, self.bits) if self.biases is None else _separate(as_floats(self.biases), groups)
        return mx.array(words), mx.array(scales).astype(self.scale_type), mx.array(biases).astype(self.scale_type)

    def rows_at(self, numbers: np.ndarray) -> np.ndarray:
        """These rows of a single matrix as float32 [n, width]."""
        block, place = np.divmod(numbers, ROWS)
        words = np.ascontiguousarray(self.words[block, :, place])
        if self.scales is None:
            return _floats(words, self.form)
        if self.form == "8 bits":
            words = _swap_halves(words)
        shifts = np.arange(0, 32, self.bits, dtype=np.uint32)
        whole = (words[..., None] >> shifts) & np.uint32((1 << self.bits) - 1)
        of_rows = np.arange(len(numbers)), slice(None), place
        scales = as_floats(self.scales[block])[of_rows]
        biases = _middle(scales, self.bits) if self.biases is None else as_floats(self.biases[block])[of_rows]
        grouped = whole.reshape(len(numbers), -1, self.group).astype(np.float32)
        return (grouped * scales[..., None] + biases[..., None]).reshape(len(numbers), -1)


def can_pack(shape: tuple[int, ...], group: int | None = None, bits: int | None = None) -> bool:
    """Whether there are kernels for weights of this shape, and quantization."""
    if group is None or bits is None:
        return shape[-1] % WIDTH_UNIT == 0
    takes = group in GROUP_SIZES or (group == SMALL_GROUP and bits > NARROW)
    return takes and bits in BITS and shape[-1] % group == 0


def packed_bits(bits: int) -> int:
    """The bits that kernels take numbers of `bits` bits in: 4 or 8."""
    return NARROW if bits <= NARROW else WIDE


def is_packable(weight: mx.array) -> bool:
    """Whether an array of a file is packed as it is: vectors aren't, nor numbers of another type."""
    return weight.ndim > 1 and (weight.dtype == mx.uint32 or weight.dtype in _TYPES)


def pack(weight: mx.array, arena: Arena | None = None) -> Packed:
    """Plain weights, packed: into this arena, or one of their own."""
    form = _TYPES[weight.dtype]
    numbers = in_order(weight if form == "float32" else weight.view(mx.uint16))
    return Packed(form, weight.shape, _interleave(numbers, arena or Arena()))


def pack_quantized(
    weight: mx.array, scales: mx.array, biases: mx.array, group: int, bits: int, arena: Arena | None = None
) -> Packed:
    """MLX's words, scales and biases, packed: into this arena, or one of their own."""
    arena, kept_bits = arena or Arena(), packed_bits(bits)
    words = in_order(weight)
    shape = (*weight.shape[:-1], weight.shape[-1] * 32 // bits)
    parts = [in_order(part.astype(mx.float32)) for part in (scales, biases)]
    is_around_zero = np.array_equal(parts[1], _middle(parts[0], bits))
    if is_around_zero:
        parts.pop()
    if kept_bits != bits:
        moved = np.uint8(((1 << kept_bits) - (1 << bits)) // 2 if is_around_zero else 0)  # the zero stays in the middle
        numbers = (unpack(words, bits) + moved).reshape(-1, 32)
        words = pack_numbers(numbers, kept_bits).view(np.uint32).reshape(*shape[:-1], -1)
    if kept_bits == WIDE:
        words = _swap_halves(words)
    packed = _interleave(words, arena)
    kept = [arena.copy(interleaved(_in_tiles(part, len(shape)))) for part in small_as_exact(parts, group)]
    return Packed(f"{kept_bits} bits", shape, packed, kept[0], kept[1] if kept[1:] else None, group, scales.dtype)


def _middle(scales: np.ndarray, bits: int) -> np.ndarray:
    """The biases of weights whose zero is in the middle."""
    return scales * np.float32(-(1 << bits - 1))


def _type_of(form: str) -> mx.Dtype:
    return next(kind for kind, name in _TYPES.items() if name == form)


def _interleave(numbers: np.ndarray, arena: Arena) -> np.ndarray:
    """[..., rows, n] → [blocks, n, 16], the last block of each stacked matrix filled up."""
    return arena.copy(_in_tiles(numbers, numbers.ndim).swapaxes(1, 2))


def _in_tiles(numbers: np.ndarray, ndim: int) -> np.ndarray:
    """Rows of a matrix, or of a stack, of so many axes → [blocks, 16, …], the last block of each filled up."""
    missing = -numbers.shape[ndim - 2] % ROWS
    if missing:
        numbers = np.pad(numbers, [(0, missing if axis == ndim - 2 else 0) for axis in range(numbers.ndim)])
    return numbers.reshape(-1, ROWS, *numbers.shape[ndim - 1 :])


def _separate(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What was interleaved, in its own shape [..., rows, n]."""
    *stack, rows, width = shape
    filled = blocks.swapaxes(1, 2).reshape(*stack, -(-rows // ROWS) * ROWS, width)
    return np.ascontiguousarray(filled[..., :rows, :])


def _swap_halves(words: np.ndarray) -> np.ndarray:
    """Of two words of four bytes, put both low halves in one and both high halves in the other; twice is once back.

    Columns 0 and 4, 1 and 5, … then lie 16 bits apart, as they do in a word of eight columns in 4 bits.
    """
    halves = words.view(np.uint16).reshape(*words.shape[:-1], -1, 2, 2)
    return np.ascontiguousarray(halves.swapaxes(-1, -2)).view(np.uint32).reshape(words.shape)


def _floats(numbers: np.ndarray, form: str) -> np.ndarray:
    if form == "float32":
        return numbers.astype(np.float32)
    if form == "float16":
        return np.ascontiguousarray(numbers).view(np.float16).astype(np.float32)
    return (numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
