"""What passes cost is measured, and an unlucky measurement is forgotten."""

import pytest

from menny.engine.pass_costs import PassCosts


@pytest.fixture
def pace() -> PassCosts:
    return PassCosts()


def test_before_it_is_measured_a_pass_of_several_tokens_is_thought_to_cost_little(pace: PassCosts) -> None:
    assert pace.cost(1) == 1
    assert 1 < pace.cost(4) < pace.cost(8) < pace.cost(16) < 4
    pace.observe(4, 9.0)  # against nothing known
    assert pace.cost(4) < 2


def test_what_passes_take_is_learnt(pace: PassCosts) -> None:
    for _ in range(40):
        pace.observe(1, 0.02)
        pace.observe(4, 0.05)
        pace.observe(16, 0.022)
    assert pace.cost(4) == pytest.approx(2.5, rel=0.01)
    assert pace.cost(16) == pytest.approx(1.1, rel=0.01)
    assert pace.cost(8) < 2.5


def test_a_pass_that_was_held_up_counts_no_more_than_its_tokens_one_by_one(pace: PassCosts) -> None:
    pace.observe(1, 0.02)
    pace.observe(8, 100.0)
    assert pace.cost(8) < 4


def test_a_step_that_was_held_up_changes_little(pace: PassCosts) -> None:
    for _ in range(40):
        pace.observe(1, 0.02)
        pace.observe(8, 0.03)
    pace.observe(1, 100.0)
    pace.observe(8, 0.03)
    assert pace.cost(8) == pytest.approx(1.5, rel=0.05)


def test_what_was_dear_once_is_tried_again(pace: PassCosts) -> None:
    for _ in range(40):
        pace.observe(1, 0.02)
        pace.observe(4, 0.08)
    assert pace.cost(4) > 3.9
    for _ in range(3000):
        pace.observe(1, 0.02)
    assert pace.cost(4) < 2
