"""Headers changed at random: only the model, or one of Menny's own errors, may come of them (all of it: tools/)."""

import random
from pathlib import Path

import pytest

from tools.fuzz_headers import LIMIT, PER_CHILD, _lines, mutated, run


@pytest.mark.slow
def test_a_changed_header_ends_in_a_model_or_in_a_sentence(tmp_path: Path) -> None:
    findings, peak = run(count=PER_CHILD, first=1_000_000, folder=tmp_path / "fuzz")

    assert findings == []
    assert 0 < peak < LIMIT


@pytest.mark.slow
def test_a_process_that_dies_is_told_with_its_seed(tmp_path: Path) -> None:
    lines = list(_lines(tmp_path / "nothing is here", range(2), tmp_path))

    assert [line["seed"] for line in lines if "finding" in line] == [0, 1]


def test_a_seed_makes_the_same_changes_again() -> None:
    data = bytes(range(256)) * 40

    made = [mutated(data, random.Random(seed)) for seed in range(50)]
    assert made == [mutated(data, random.Random(seed)) for seed in range(50)]
    assert sum(one != data for one in made) > 45
