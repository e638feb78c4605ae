"""On a processor a token is drawn by the same filters as elsewhere, and in the frequencies that the logits tell."""

import math

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine.cpu.sampling import draw, likeliest, make_sampler, nucleus
from menny.engine.sampling import NOT_A_NUMBER, SamplingParams, keep_top_k, keep_top_p, key_at
from tests.engine.test_sampling import FILTERED, LOGITS, PROBABILITIES, as_drawn_from, kept

DRAWS = 2000
LAST = (1 << 64) - 1  # of the keys
ROW = np.array(LOGITS[0], np.float32)


def frequencies(params: SamplingParams, row: np.ndarray = ROW, draws: int = DRAWS) -> np.ndarray:
    tokens = [draw(row, key_at(3, position), params) for position in range(draws)]
    return np.bincount(tokens, minlength=len(row)) / draws


@pytest.mark.parametrize(("filters", "expected"), FILTERED.values(), ids=FILTERED.keys())
def test_filtered_drawing_follows_the_probabilities_of_what_is_left(filters, expected) -> None:
    assert as_drawn_from(frequencies(SamplingParams(temperature=1.0, **filters)), expected, DRAWS)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_sharpens_and_flattens(temperature: float) -> None:
    expected = [p ** (1 / temperature) for p in PROBABILITIES]
    assert as_drawn_from(frequencies(SamplingParams(temperature=temperature)), expected, DRAWS)


def test_drawing_from_many_blocks_follows_the_probabilities() -> None:
    row = np.full(1000, -30.0, np.float32)
    row[[3, 255, 256, 700, 999]] = LOGITS[0]
    got = frequencies(SamplingParams(temperature=1.0), row)[[3, 255, 256, 700, 999]]
    assert as_drawn_from(got, PROBABILITIES, DRAWS)


@settings(max_examples=60)
@given(
    size=st.integers(2, 600),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.0, 1.0, 10.0]),
    p=st.floats(0, 0.999),
    k=st.integers(1, 40),
)
def test_the_filters_keep_what_those_in_mlx_keep(size: int, seed: int, spread: float, p: float, k: int) -> None:
    row = np.random.default_rng(seed).standard_normal(size).astype(np.float32) * np.float32(spread)
    assert set(likeliest(row, min(k, size)).tolist()) == kept(keep_top_k(mx.array(row[None]), min(k, size)))[0]
    ours = nucleus(row - row.max(), p)
    (theirs,) = kept(keep_top_p(mx.array(row[None]), p))
    assert ours.tolist() == sorted(ours.tolist())
    if spread:  # equals may be any of them
        assert abs(len(ours) - len(theirs)) <= 1  # float32 sums
        assert set(ours.tolist()) <= theirs or theirs <= set(ours.tolist())


def test_what_is_ruled_out_is_never_drawn() -> None:
    row = np.array([-np.inf, 0.0, -np.inf, 0.0, *[-np.inf] * 600], np.float32)
    assert {draw(row, key, SamplingParams(temperature=1.0)) for key in (0, 1, LAST // 2, LAST - 1, LAST)} == {1, 3}
    for key in (0, LAST):
        assert draw(row, key, SamplingParams(top_p=0.5)) in (1, 3)


@pytest.mark.parametrize("temperature", [0, 1e-3, 1e-45, 5e-324])
@pytest.mark.parametrize("shift", [-1000.0, 0.0, 1000.0])
def test_the_lowest_temperatures_take_the_likeliest(temperature: float, shift: float) -> None:
    sampler = make_sampler(SamplingParams(temperature=temperature), 5)
    for key in (0, 12345, LAST):
        assert sampler(mx.array([LOGITS]) + shift, 0, key).tolist() == [[1]]


def test_logits_that_are_no_numbers_are_told() -> None:
    for wrong in (math.nan, math.inf):
        for temperature in (0, 1):
            sampler = make_sampler(SamplingParams(temperature=temperature), 3)
            assert sampler(mx.array([[[1.0, wrong, 2.0]]]), 0, 5).tolist() == [[NOT_A_NUMBER]]


def test_a_place_is_drawn_from_without_what_pads_the_vocabulary() -> None:
    logits = mx.array(np.random.default_rng(0).standard_normal((1, 4, 90)).astype(np.float32))
    sampler = make_sampler(SamplingParams(temperature=0), 80)
    for place in range(4):
        assert sampler(logits, place, 0).item() == int(np.array(logits)[0, place, :80].argmax())
