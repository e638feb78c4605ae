"""A sound model agrees with itself however its tokens come; one with a broken mask, cache or position does not."""

import math
from typing import Any

import mlx.core as mx
import pytest

from menny.engine import Mistral
from menny.engine.benchmarks.verify import COARSE, EXACT, verify, verify_model, ways
from menny.engine.cache import KVCache, RollingCache
from menny.engine.model import Attention
from menny.errors import EngineError
from tests.engine.tiny_models import built, random_weights, tiny_args


def tiny(**changes: Any) -> Mistral:
    args = tiny_args(**changes)
    return built(args, random_weights(args))


@pytest.mark.parametrize("window", [None, 1, 2, 8, 40, 300])
@pytest.mark.parametrize("changes", [{}, {"rope_traditional": True, "tie_word_embeddings": True}])
def test_a_sound_model_agrees(window: int | None, changes: dict[str, Any]) -> None:
    result = verify_model(tiny(sliding_window=window, **changes))
    assert result.agrees
    assert result.tokens > max(window or 0, 99)
    assert result.tolerance == EXACT
    assert max(one.relative for one in result.differences) < 1e-5


def test_half_precision_gets_more_room() -> None:
    model = tiny()
    model.set_dtype(mx.bfloat16)
    result = verify_model(model)
    assert (result.tolerance, result.agrees) == (COARSE, True)


@pytest.mark.parametrize(("cache", "window"), [(KVCache, None), (RollingCache, 8)])
def test_a_broken_mask_disagrees_loudly(
    cache: type[KVCache | RollingCache], window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "mask", lambda self, n_tokens: None)
    result = verify_model(tiny(sliding_window=window))
    assert not result.agrees
    assert min(one.relative for one in result.differences) > 10 * EXACT


def test_a_mask_that_forgets_the_window_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RollingCache, "mask", KVCache.mask)
    assert not verify_model(tiny(sliding_window=8)).agrees


def test_positions_that_begin_anew_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    rope = Attention._rope
    monkeypatch.setattr(Attention, "_rope", lambda self, x, offset: rope(self, x, 0))
    assert not verify_model(tiny()).agrees


def test_numbers_that_are_none_disagree() -> None:
    model = tiny()
    model.norm.weight = model.norm.weight * math.nan
    assert not verify_model(model).agrees


@pytest.mark.parametrize(("length", "window"), [(2, None), (20, 3), (100, 8), (264, None), (4104, 4096)])
def test_every_way_puts_every_token_once(length: int, window: int | None) -> None:
    found = ways(length, window)
    assert {sum(chunks) for chunks in found.values()} == {length}
    if window:
        assert {window - 1, window, window + 1} <= {chunks[0] for chunks in found.values()} | {1}
    assert len([1 for chunks in found.values() if chunks[:2] == [1, 1]]) == 1


def test_a_context_that_is_shorter_than_wanted_is_filled() -> None:
    assert verify_model(tiny(max_position_embeddings=30)).tokens == 30


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(EngineError, match="takes from 2 to 30"):
        verify_model(tiny(max_position_embeddings=30), n_tokens=31)
    with pytest.raises(EngineError, match="tolerance is nan"):
        verify("nowhere", math.nan)
