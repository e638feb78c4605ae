"""Sixteen numbers at a time, as LLVM's instructions: what Numba's own loops would leave to scalars.

LLVM finds each processor's way to do them, such as `vpdpwssd` or `vpmaddwd` on x86-64 and `smlal` on arm64 for products of
16-bit integers.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

WIDTH = 16  # numbers in a vector

half, f32, i16, i32, i64 = ir.HalfType(), ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)
floats, halves, ints, shorts = (ir.VectorType(kind, WIDTH) for kind in (f32, half, i32, i16))
pairs = ir.VectorType(i16, 2 * WIDTH)  # of 16-bit integers

_wide = ir.VectorType(i32, 2 * WIDTH)
_EVEN, _ODD = (ir.Constant(ints, list(range(start, 2 * WIDTH, 2))) for start in (0, 1))


class Vectors:
    """Writes vector instructions into a function that is being compiled."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def at(self, address: Any, *parts: tuple[Any, int]) -> Any:
        """An address moved on by index x bytes, for each pair of these."""
        for index, nbytes in parts:
            step = ir.Constant(i64, index * nbytes) if isinstance(index, int) else self._times(index, nbytes)
            address = self.builder.add(address, step)
        return address

    def _times(self, index: Any, nbytes: int) -> Any:
        return self.builder.mul(index, ir.Constant(i64, nbytes))

    def load(self, kind: Any, address: Any, align: int = 2) -> Any:
        """The value of this type at an address."""
        value = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        value.align = align
        return value

    def store(self, value: Any, address: Any) -> None:
        """Put float32 numbers at an address."""
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer())).align = 4

    def variable(self, start: Any) -> Any:
        """A place for a value that changes; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, start.type)
        self.builder.store(start, place)
        return place

    def splat(self, value: Any) -> Any:
        """A vector of this number."""
        kind = ir.VectorType(value.type, WIDTH)
        nothing = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(i32, 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(ints, [0] * WIDTH))

    def add_product(self, a: Any, x: Any, total: Any) -> None:
        """total += a x, in float32, rounded once."""
        name = f"llvm.fma.v{WIDTH}f32"
        fma = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(floats, [floats] * 3), name)
        self.builder.store(self.builder.call(fma, [a, x, self.builder.load(total)]), total)

    def add_products_of_pairs(self, a: Any, x: Any, total: Any) -> None:
        """total += a0 x0 + a1 x1, for each of 16 pairs of 16-bit integers, in int32."""
        build = self.builder
        products = build.mul(build.sext(a, _wide), build.sext(x, _wide))
        nothing = ir.Constant(_wide, ir.Undefined)
        even, odd = (build.shuffle_vector(products, nothing, which) for which in (_EVEN, _ODD))
        build.store(build.add(build.load(total), build.add(even, odd)), total)

    def bits_of(self, word: Any, bits: int) -> list[Any]:
        """Whole numbers of so many bits in each 16, lowest first, as 16-bit integers."""
        shifted = [
            self.builder.lshr(word, ir.Constant(pairs, [start] * 2 * WIDTH)) if start else word
            for start in range(0, 16, bits)
        ]
        mask = ir.Constant(pairs, [(1 << bits) - 1] * 2 * WIDTH)
        return [self.builder.and_(number, mask) for number in shifted[:-1]] + shifted[-1:]
