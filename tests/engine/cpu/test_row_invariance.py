"""A vector's product is the same to the last bit, however many others are multiplied with it and by which threads.

So a chat's reply doesn't depend on which other chats the engine answers at that moment, nor on drafts.
"""

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine.checkpoints.quantization import SMALL_GROUP, widen
from menny.engine.cpu.kernels import packed_mistral
from menny.engine.cpu.matrix import Packed, pack, pack_quantized
from tests.engine.cpu.test_matrix import GROUPS, drawn

if packed_mistral() is None:
    pytest.skip("there are no kernels here", allow_module_level=True)

from menny.engine.cpu.modules import PackedFeedForward, PackedLinear, PackedMoE
from menny.engine.cpu.pool import Pool

Product = Callable[[mx.array], mx.array]

POOLS = [Pool(1), Pool(2), Pool(3)]
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 21]  # chats at once, drafts, and short chunks of a prompt


def quantized(weight: mx.array, group: int, bits: int, kind: mx.Dtype = mx.float32) -> Packed:
    return pack_quantized(*mx.quantize(weight.astype(kind), group, bits), group, bits)


def symmetric(weight: mx.array, group: int, bits: int) -> Packed:
    """As blocks of Q4_0 and Q8_0 are: scales in half precision, and biases that follow from them."""
    words, scales, _ = mx.quantize(weight.astype(mx.float16), group, bits)
    return pack_quantized(words, scales, scales * -(2 ** (bits - 1)), group, bits)


FORMS: dict[str, Callable[[mx.array], Packed]] = {
    **{
        f"{bits} bits in groups of {group}": lambda weight, group=group, bits=bits: quantized(weight, group, bits)
        for bits in (4, 8)
        for group in GROUPS
    },
    "8 bits in groups of 16": lambda weight: pack_quantized(
        *widen(mx.quantize(weight, 32, 8), (32, 8), (SMALL_GROUP, 8)), SMALL_GROUP, 8
    ),
    "half scales": lambda weight: quantized(weight, 32, 4, mx.float16),
    "Q4_0": lambda weight: symmetric(weight, 32, 4),
    "Q8_0": lambda weight: symmetric(weight, 32, 8),
    "bfloat16": lambda weight: pack(weight.astype(mx.bfloat16)),
    "float16": lambda weight: pack(weight.astype(mx.float16)),
    "float32": pack,
}


def assert_rows_dont_know_each_other(products: list[Product], x: mx.array) -> None:
    """Each row alone, and among the first 2, 3, …: by every thread count, the same bits."""
    alone = np.concatenate([np.array(products[0](x[row : row + 1])) for row in range(len(x))])
    for product in products:
        for n in ROWS:
            assert np.array_equal(np.array(product(x[:n])), alone[:n]), n
        shuffled = np.random.default_rng(n).permutation(len(x))
        assert np.array_equal(np.array(product(x[mx.array(shuffled)])), alone[shuffled])


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=4)
@given(
    rows=st.integers(1, 40), groups=st.integers(1, 3), seed=st.integers(0, 99), spread=st.sampled_from([1e-6, 1, 1e4])
)
def test_a_product_of_one_vector_is_that_among_others(
    form: str, rows: int, groups: int, seed: int, spread: float
) -> None:
    packed = FORMS[form](drawn((rows, 128 * groups), seed=seed))
    x = drawn((ROWS[-1], 128 * groups), seed=seed + 1) * spread
    assert_rows_dont_know_each_other([PackedLinear(packed, pool) for pool in POOLS], x)


@pytest.mark.parametrize("form", FORMS)
def test_a_feed_forward_of_one_vector_is_that_among_others(form: str) -> None:
    w1, w2, w3 = (
        FORMS[form](drawn(shape, seed=seed) / 8) for seed, shape in enumerate([(384, 128), (128, 384), (384, 128)])
    )
    x = drawn((ROWS[-1], 128), seed=9)
    assert_rows_dont_know_each_other([PackedFeedForward(w1, w2, w3, pool) for pool in POOLS], x)


@pytest.mark.parametrize("form", ["4 bits in groups of 32", "Q4_0", "bfloat16"])
def test_experts_of_one_vector_are_those_among_others(form: str) -> None:
    def experts(pool: Pool) -> PackedMoE:
        stacks = [(4, 256, 128), (4, 128, 256), (4, 256, 128)]
        packed = (FORMS[form](drawn(shape, seed=seed) / 8) for seed, shape in enumerate(stacks))
        gate = PackedLinear(FORMS[form](drawn((4, 128), seed=7)), pool)
        return PackedMoE(gate, PackedFeedForward(*packed, pool), 2)

    assert_rows_dont_know_each_other([experts(pool) for pool in POOLS], drawn((ROWS[-1], 128), seed=9))
