"""A token is drawn as asked: every filter by hand, together, and in the frequencies that the logits tell."""

import math

import mlx.core as mx
import numpy as np
import pytest

from menny.engine.cpu import sampling as on_cpu
from menny.engine.sampling import (
    SamplingParams,
    followed_by,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    make_sampler,
    penalise_repetition,
    sample,
)
from menny.errors import EngineError

PROBABILITIES = [0.1, 0.4, 0.05, 0.25, 0.2]  # by rank: tokens 1, 3, 4, 0, 2
LOGITS = [[math.log(p) + 3 for p in PROBABILITIES]]  # a constant added to all changes nothing


def kept(logits: mx.array) -> list[set[int]]:
    """The tokens of each row that are not ruled out."""
    return [{token for token, logit in enumerate(row) if logit > -math.inf} for row in logits.tolist()]


def frequencies(params: SamplingParams, logits: list[list[float]] = LOGITS, draws: int = 20_000) -> np.ndarray:
    """How often each token comes, in one batch of equal rows under one key."""
    rows = mx.broadcast_to(mx.array(logits), (draws, len(logits[0])))
    tokens = np.array(sample(rows, mx.random.key(3), params))
    return np.bincount(tokens, minlength=len(logits[0])) / draws


def as_drawn_from(got: np.ndarray, expected: list[float], draws: int = 20_000) -> bool:
    """Whether frequencies fit probabilities: Pearson's chi-square under what 1 fair sample in 10,000 exceeds."""
    truth = np.array(expected) / sum(expected)
    possible = truth > 0
    chi_square = draws * ((got[possible] - truth[possible]) ** 2 / truth[possible]).sum()
    bound = {1: 15.1, 2: 18.4, 3: 21.1, 4: 23.5}[int(possible.sum()) - 1]
    return bool(got[~possible].sum() == 0 and chi_square < bound)


@pytest.mark.parametrize(
    ("k", "tokens"), [(1, {1}), (2, {1, 3}), (3, {1, 3, 4}), (4, {0, 1, 3, 4}), (5, {0, 1, 2, 3, 4})]
)
def test_top_k_keeps_the_k_likeliest(k, tokens):
    assert kept(keep_top_k(mx.array(LOGITS), k)) == [tokens]


@pytest.mark.parametrize(
    ("p", "tokens"),
    [
        (0.0, {1}),
        (0.3, {1}),
        (0.39, {1}),
        (0.41, {1, 3}),
        (0.64, {1, 3}),
        (0.66, {1, 3, 4}),
        (0.9, {0, 1, 3, 4}),
        (0.96, {0, 1, 2, 3, 4}),
    ],
)
def test_top_p_keeps_the_fewest_that_reach_p_and_never_none(p, tokens):
    assert kept(keep_top_p(mx.array(LOGITS), p)) == [tokens]


@pytest.mark.parametrize(
    ("p", "tokens"),
    [(1.0, {1}), (0.7, {1}), (0.6, {1, 3}), (0.49, {1, 3, 4}), (0.24, {0, 1, 3, 4}), (0.12, {0, 1, 2, 3, 4})],
)
def test_min_p_keeps_what_is_likely_beside_the_likeliest(p, tokens):
    assert kept(keep_min_p(mx.array(LOGITS), p)) == [tokens]


def test_filters_treat_every_row_by_itself():
    rows = mx.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, 9.0, 0.0]])
    assert kept(keep_top_k(rows, 2)) == [{1, 2}, {0, 1}, {0, 1, 2}]  # the last row's others are equal
    assert kept(keep_top_p(rows, 0.5)) == [{2}, {0}, {1}]
    assert kept(keep_min_p(rows, 0.3)) == [{1, 2}, {0, 1}, {1}]


def test_filters_leave_the_logits_that_they_keep_alone():
    for filtered in (
        keep_top_k(mx.array(LOGITS), 3),
        keep_top_p(mx.array(LOGITS), 0.8),
        keep_min_p(mx.array(LOGITS), 0.3),
    ):
        assert [x for x in filtered.tolist()[0] if x > -math.inf] == [
            mx.array(LOGITS).tolist()[0][t] for t in (1, 3, 4)
        ]


def test_top_p_over_as_many_tokens_as_a_vocabulary_has():
    logits = np.random.default_rng(0).standard_normal((1, 32000)).astype(np.float32) * 3
    likely = np.exp(logits[0].astype(np.float64))
    ranked = np.sort(likely / likely.sum())[::-1]
    count = len(kept(keep_top_p(mx.array(logits), 0.9))[0])
    assert abs(count - (int((np.cumsum(ranked) < 0.9).sum()) + 1)) <= 2  # float32 sums


def test_drawing_follows_the_probabilities():
    assert as_drawn_from(frequencies(SamplingParams(temperature=1.0)), PROBABILITIES)


@pytest.mark.parametrize("temperature", [0.5, 0.7, 2.0])
def test_temperature_sharpens_and_flattens(temperature):
    expected = [p ** (1 / temperature) for p in PROBABILITIES]
    assert as_drawn_from(frequencies(SamplingParams(temperature=temperature)), expected)


FILTERED = {
    "top_k": ({"top_k": 2}, [0, 0.4, 0, 0.25, 0]),
    "top_p": ({"top_p": 0.66}, [0, 0.4, 0, 0.25, 0.2]),
    "min_p": ({"min_p": 0.6}, [0, 0.4, 0, 0.25, 0]),
    "top_k, then top_p of what is left": ({"top_k": 3, "top_p": 0.7}, [0, 0.4, 0, 0.25, 0]),
    "top_k, then min_p": ({"top_k": 4, "min_p": 0.45}, [0, 0.4, 0, 0.25, 0.2]),
    "top_p, then min_p": ({"top_p": 0.9, "min_p": 0.6}, [0, 0.4, 0, 0.25, 0]),
    "all three": ({"top_k": 4, "top_p": 0.8, "min_p": 0.3}, [0, 0.4, 0, 0.25, 0.2]),
    "a top_k beyond the vocabulary": ({"top_k": 99}, PROBABILITIES),
}


@pytest.mark.parametrize(("filters", "expected"), FILTERED.values(), ids=FILTERED.keys())
def test_filtered_drawing_follows_the_probabilities_of_what_is_left(filters, expected):
    assert as_drawn_from(frequencies(SamplingParams(temperature=1.0, **filters)), expected)


def test_filters_come_after_the_temperature():
    hot = SamplingParams(temperature=10.0, min_p=0.7)  # at 10 all are nearly alike
    assert as_drawn_from(frequencies(hot), [p**0.1 for p in PROBABILITIES])
    cold = SamplingParams(temperature=0.1, top_p=0.9)  # at 0.1 the likeliest has 0.99
    assert frequencies(cold, draws=500).tolist() == [0, 1, 0, 0, 0]


def test_a_temperature_of_0_takes_the_likeliest_whatever_else_is_set():
    sampler = make_sampler(SamplingParams(temperature=0, top_k=3, top_p=0.5, min_p=0.5, seed=4), 5)
    logits = mx.array([[LOGITS[0], LOGITS[0][::-1]]])
    for key in range(5):
        assert [sampler(logits, place, key).tolist() for place in range(2)] == [[[1]], [[3]]]


@pytest.mark.parametrize("temperature", [1e-3, 1e-20, 1e-45, 5e-324])
@pytest.mark.parametrize("shift", [-1000.0, 0.0, 1000.0])
def test_the_lowest_temperatures_draw_the_likeliest_too(temperature, shift):
    logits = [[logit + shift for logit in LOGITS[0]]]
    assert frequencies(SamplingParams(temperature=temperature), logits, draws=50).tolist() == [0, 1, 0, 0, 0]


def test_half_precision_is_drawn_in_float32():
    logits = mx.array(LOGITS).astype(mx.bfloat16)
    tokens = sample(mx.broadcast_to(logits, (20_000, 5)), mx.random.key(1), SamplingParams(temperature=1.0, top_p=0.99))
    rounded = np.exp(np.array(logits.astype(mx.float32), np.float64))[0]
    assert as_drawn_from(np.bincount(np.array(tokens), minlength=5) / 20_000, rounded.tolist())


def test_a_key_decides_the_draw():
    rows = mx.broadcast_to(mx.array(LOGITS), (100, 5))
    one, same, other = (sample(rows, mx.random.key(key), SamplingParams()).tolist() for key in (1, 1, 2))
    assert one == same != other


PENALTIES = {"in MLX": penalise_repetition, "on a processor": on_cpu.penalise_repetition}


@pytest.mark.parametrize("penalise", PENALTIES.values(), ids=PENALTIES.keys())
def test_the_penalty_shrinks_positive_and_grows_negative_logits_of_recent_tokens(penalise):
    logits = mx.array([[[9.0, 9.0, 9.0, 9.0, 9.0], [2.0, -1.0, 0.0, 3.0, -4.0]]])
    assert penalise(logits, 1, mx.array([0, 1, 2]), 2.0).tolist() == [[[1.0, -2.0, 0.0, 3.0, -4.0]]]
    assert penalise(logits, 1, mx.array([0, 1]), 0.5).tolist() == [[[4.0, -0.5, 0.0, 3.0, -4.0]]]
    assert logits.tolist() == [[[9.0, 9.0, 9.0, 9.0, 9.0], [2.0, -1.0, 0.0, 3.0, -4.0]]]


@pytest.mark.parametrize("penalise", PENALTIES.values(), ids=PENALTIES.keys())
def test_a_token_that_came_often_is_penalised_once(penalise):
    logits = mx.array([[[2.0, -1.0, 5.0]]])
    assert penalise(logits, 0, mx.array([1, 0, 0, 1, 0]), 2.0).tolist() == [[[1.0, -2.0, 5.0]]]


@pytest.mark.parametrize("follow", [followed_by, on_cpu.followed_by])
def test_the_last_tokens_are_those_that_came_last(follow):
    recent = mx.array([4, 5, 6])
    assert follow(recent, mx.array([[7]]), 3).tolist() == [5, 6, 7]
    assert follow(recent, mx.array([[7]]), 9).tolist() == [4, 5, 6, 7]


WRONG = {
    "temperature": [-0.1, 10.5, float("nan"), float("inf"), "1", None, True],
    "max_tokens": [0, -1, 2.5, "9", None, True, (1 << 30) + 1],
    "top_p": [-0.1, 1.1, float("nan"), None, "all"],
    "top_k": [-1, 1.5, None],
    "min_p": [-0.1, 1.1, float("nan")],
    "repetition_penalty": [0, -1.0, 11, float("nan")],
    "repetition_context": [-1, 0.5, None],
    "seed": [-1, 1 << 64, 1.0, "7", True],
    "stop": [[""], "", [3], None, 5, ["a", None], b"x", {"a"}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=repr
)
def test_a_parameter_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(EngineError, match=rf"^{name} "):
        SamplingParams(**{name: value})


def test_the_range_is_told():
    with pytest.raises(EngineError, match=r"^top_p is 1\.5, but must be from 0 to 1$"):
        SamplingParams(top_p=1.5)
    with pytest.raises(EngineError, match=r"^top_k is 1\.5, but must be a whole number$"):
        SamplingParams(top_k=1.5)


def test_the_ends_of_every_range_are_fine():
    SamplingParams(temperature=0, max_tokens=1, top_p=0, min_p=0, repetition_penalty=0.01, repetition_context=0, seed=0)
    SamplingParams(temperature=10, top_p=1, min_p=1, repetition_penalty=10, top_k=1 << 30, seed=(1 << 64) - 1)


def test_one_stop_text_may_stand_without_a_list():
    assert SamplingParams(stop="END").stop == ("END",)
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")
    assert SamplingParams().stop == ()


def test_parameters_can_be_compared_and_not_changed():
    assert SamplingParams(stop=["a"]) == SamplingParams(stop=("a",))
    with pytest.raises(AttributeError):
        SamplingParams().seed = 3  # type: ignore[misc]
