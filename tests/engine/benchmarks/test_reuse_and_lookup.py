"""A bench of the shortcuts measures the turns and texts that it tells of."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from menny.engine import Engine, SamplingParams, load_engine
from menny.engine.benchmarks import reuse_and_lookup
from menny.engine.benchmarks.reuse_and_lookup import measure_lookup, measure_reuse
from tests.engine.scripts import CONTROLS
from tests.engine.tiny_models import random_weights, tiny_args, write_folder, write_vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    args = tiny_args(vocab_size=262, max_position_embeddings=2048)
    folder = write_folder(tmp_path_factory.mktemp("gains") / "tiny", args, random_weights(args))
    write_vocabulary(folder, *CONTROLS)
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with load_engine(folder) as engine:
        yield engine


def test_the_fifth_turn_of_a_conversation_reuses_the_four_before(engine: Engine) -> None:
    reuse = measure_reuse(engine, prompt_tokens=100, new_tokens=8, runs=1)
    assert (reuse.turn, reuse.prompt_tokens) == (5, 100 + 4 * (8 + 32))
    assert reuse.cached_tokens == reuse.prompt_tokens - 32
    assert reuse.ratio == reuse.seconds_to_first_token / reuse.seconds_without_reuse


@pytest.mark.parametrize("prompt_tokens", [1, 30, 62])
def test_a_conversation_that_fills_the_context_still_has_a_fifth_turn(folder: Path, prompt_tokens: int) -> None:
    with load_engine(folder, context_length=64) as engine:
        reuse = measure_reuse(engine, prompt_tokens, new_tokens=64, runs=1)
    assert 0 < reuse.cached_tokens < reuse.prompt_tokens < 64


def test_drafts_are_measured_on_both_texts_by_turns_with_none(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SamplingParams] = []
    stream = engine.stream

    def listening(prompt: Any, params: SamplingParams) -> Any:
        asked.append(params)
        return stream(prompt, params)

    monkeypatch.setattr(engine, "stream", listening)
    lookup = measure_lookup(engine, new_tokens=20, runs=2)
    assert [(params.temperature, params.lookup) for params in asked] == [
        (temperature, on) for temperature in (0.0, 1.0) for on in (True, False, True, True, False)
    ]
    assert {params.max_tokens for params in asked} == {20} == {lookup.new_tokens}


def test_the_ratio_of_drafts_is_that_of_replies_in_turn(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([0.0, 30.0, 10.0, 20.0, 40.0, 3.0, 9.0])  # to learn; without and with, with and without, and again
    monkeypatch.setattr(reuse_and_lookup, "_decode_tps", lambda *_: next(speeds))
    drafts = reuse_and_lookup._measure_drafts(engine, "text", SamplingParams(max_tokens=20), runs=3)
    assert (drafts.decode_tps, drafts.decode_tps_without) == (10, 30)
    assert drafts.ratio == 0.5


def test_one_new_token_leaves_nothing_to_draft(engine: Engine) -> None:
    assert measure_lookup(engine, new_tokens=1, runs=1).repeating.ratio == 1
