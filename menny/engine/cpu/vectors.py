"""Sixteen numbers at a time, as LLVM's instructions: what Numba's own loops would leave to scalars.

LLVM finds each processor's way to do them, such as `vpdpwssd` or `vpmaddwd` on x86-64 and `smlal` on arm64 for products
of 16-bit integers.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

WIDTH = 16  # numbers in a vector

half, f32, i8, i16, i32, i64 = ir.HalfType(), ir.FloatType(), *(ir.IntType(bits) for bits in (8, 16, 32, 64))
floats, halves, ints, shorts, signed = (ir.VectorType(kind, WIDTH) for kind in (f32, half, i32, i16, i8))
pairs = ir.VectorType(i16, 2 * WIDTH)  # of 16-bit integers

LOG2E, LN2 = 1.4426950408889634, (0.693359375, -2.12194440e-4)
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
LOWEST, HIGHEST = -87.0, 88.0  # of what exp takes; beyond them it would leave float32

_wide = ir.VectorType(i32, 2 * WIDTH)
_EVEN, _ODD = (ir.Constant(ints, list(range(start, 2 * WIDTH, 2))) for start in (0, 1))


def _of_fours(*lanes: int) -> list[int]:
    """Return lanes of two vectors (the second's begin at 16), repeated for each four lanes."""
    return [four + lane for four in range(0, WIDTH, 4) for lane in lanes]


_SINGLES = _of_fours(0, 16, 1, 17), _of_fours(2, 18, 3, 19)
_DOUBLES = _of_fours(0, 1, 16, 17), _of_fours(2, 3, 18, 19)


class VectorBuilder:
    """Writes vector instructions into a function that is being compiled."""

    def __init__(self, builder: Any, features: str = "") -> None:
        """`features` of the processor are listed as LLVM names them: +avx2,+avx512f,…"""
        self.builder = builder
        self.has_wide_registers = "+avx512f" in features.split(",")  # 32, each of a whole vector

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

    def zero(self, kind: Any) -> Any:
        """A vector of zeros."""
        return ir.Constant(kind, [0] * WIDTH)

    def constant(self, number: float) -> Any:
        """A vector of this float32."""
        return ir.Constant(floats, [number] * WIDTH)

    def exp(self, x: Any) -> Any:
        """e to the x: 2 to a whole number, times a polynomial for the rest (Cephes, expf); NaN stays NaN."""
        build = self.builder
        for relation, bound in (("<", LOWEST), (">", HIGHEST)):
            limit = self.constant(bound)
            x = build.select(build.fcmp_ordered(relation, x, limit), limit, x)
        whole = self._call("floor", floats, self.fma(x, self.constant(LOG2E), self.constant(0.5)))
        rest = self.fma(whole, self.constant(-LN2[1]), self.fma(whole, self.constant(-LN2[0]), x))
        power = self.constant(EXP[0])
        for factor in EXP[1:]:
            power = self.fma(power, rest, self.constant(factor))
        power = self.fma(build.fmul(power, rest), rest, build.fadd(rest, self.constant(1.0)))
        exponent = build.add(build.fptosi(whole, ints), ir.Constant(ints, [127] * WIDTH))
        return build.fmul(power, build.bitcast(build.shl(exponent, ir.Constant(ints, [23] * WIDTH)), floats))

    def weight(self, score: Any, most: Any) -> Any:
        """e^(score - most), and exactly 0 for -∞, which stands where there is no token."""
        lowest = self.constant(-float("inf"))
        power = self.exp(self.builder.fsub(score, most))
        return self.builder.select(self.builder.fcmp_unordered(">", score, lowest), power, self.zero(floats))

    def fetch(self, address: Any, level: int = 1) -> None:
        """Have the memory at an address brought into the first or second cache: it will be read soon."""
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        prefetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        reading, keep, data = (ir.Constant(i32, number) for number in (0, 4 - level, 1))
        self.builder.call(prefetch, [self.builder.inttoptr(address, pointer), reading, keep, data])

    def store(self, value: Any, address: Any, align: int = 4) -> None:
        """Put a vector at an address."""
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer())).align = align

    def first_lanes(self, count: Any) -> Any:
        """A mask of the first `count` of 16, or of all."""
        numbers = ir.Constant(ints, list(range(WIDTH)))
        return self.builder.icmp_signed("<", numbers, self.splat(self.builder.trunc(count, i32)))

    def load_lanes(self, kind: Any, address: Any, lanes: Any) -> Any:
        """`floats` or `shorts` at an address, where the mask is set, and zeros elsewhere: nothing else is read."""
        name, align = {floats: ("f32", 4), shorts: ("i16", 2)}[kind]
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        function = ir.FunctionType(kind, [kind.as_pointer(), i32, lanes.type, kind])
        load = cgutils.get_or_insert_function(self.builder.module, function, f"llvm.masked.load.v{WIDTH}{name}.p0")
        return self.builder.call(load, [pointer, ir.Constant(i32, align), lanes, self.zero(kind)])

    def store_lanes(self, value: Any, address: Any, lanes: Any) -> None:
        """Put float32 numbers at an address, where the mask is set."""
        pointer = self.builder.inttoptr(address, floats.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [floats, floats.as_pointer(), i32, lanes.type])
        store = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.store.v{WIDTH}f32.p0")
        self.builder.call(store, [value, pointer, ir.Constant(i32, 4), lanes])

    def sums_of_four(self, four: list[Any]) -> Any:
        """The sums of four vectors' float32 numbers, as a vector of four."""
        build = self.builder
        a, b, c, d = four
        pair, other = self._interleaved_sums(a, b, _SINGLES), self._interleaved_sums(c, d, _SINGLES)
        quarters = self._interleaved_sums(pair, other, _DOUBLES)  # each four of its numbers belong to the four vectors
        for count in (8, 4):
            low, high = (
                build.shuffle_vector(quarters, quarters, ir.Constant(ir.VectorType(i32, count), list(lanes)))
                for lanes in (range(count), range(count, 2 * count))
            )
            quarters = build.fadd(low, high)
        return quarters

    def _interleaved_sums(self, a: Any, b: Any, lanes: tuple[list[int], list[int]]) -> Any:
        build = self.builder
        low, high = (build.shuffle_vector(a, b, ir.Constant(ints, which)) for which in lanes)
        return build.fadd(low, high)

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

    def fma(self, a: Any, x: Any, y: Any) -> Any:
        """a x + y, in float32, rounded once."""
        return self._call("fma", floats, a, x, y)

    def rounded(self, x: Any) -> Any:
        """The nearest whole numbers, as float32."""
        return self._call("nearbyint", floats, x)

    def reduced(self, how: str, numbers: Any) -> Any:
        """The sum ("add") or the largest ("smax") of 16 integers of 32 bits, or the largest of 16 floats ("fmax")."""
        return self._call(f"vector.reduce.{how}", numbers.type.element, numbers)

    def _call(self, name: str, returns: Any, *args: Any) -> Any:
        """Call an LLVM intrinsic for vectors of 16."""
        of = {floats: "f32", ints: "i32"}[args[0].type]
        kind = ir.FunctionType(returns, [arg.type for arg in args])
        name = f"llvm.{name}.v{WIDTH}{of}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), args)

    def add_product(self, a: Any, x: Any, total: Any) -> None:
        """total += a x."""
        self.builder.store(self.fma(a, x, self.builder.load(total)), total)

    def add_products_of_pairs(self, a: Any, x: Any, total: Any) -> None:
        """total += a0 x0 + a1 x1, for each of 16 pairs of 16-bit integers, in int32."""
        build = self.builder
        products = build.mul(build.sext(a, _wide), build.sext(x, _wide))
        nothing = ir.Constant(_wide, ir.Undefined)
        even, odd = (build.shuffle_vector(products, nothing, which) for which in (_EVEN, _ODD))
        build.store(build.add(build.load(total), build.add(even, odd)), total)

    def bits_of(self, word: Any, bits: int) -> list[Any]:
        """Whole numbers of a few bits in each 16, lowest first, as 16-bit integers."""
        shifted = [
            self.builder.lshr(word, ir.Constant(pairs, [start] * 2 * WIDTH)) if start else word
            for start in range(0, 16, bits)
        ]
        mask = ir.Constant(pairs, [(1 << bits) - 1] * 2 * WIDTH)
        return [self.builder.and_(number, mask) for number in shifted[:-1]] + shifted[-1:]
