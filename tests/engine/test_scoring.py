"""A choice among continuations: as likely as a plain computation of each says, in one pass, over any kind of model."""

import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine import Engine, Mistral, MoEArgs, Progress, load_engine, requests, scoring, worker
from menny.engine.passes import PREFILL_CHUNK
from menny.engine.prefix_cache import PrefixCache
from menny.engine.runtime import Runtime
from menny.engine.scoring import Score, score
from menny.errors import EngineError, PromptTooLongError
from tests.engine.alone import result
from tests.engine.naive_model import logits_of
from tests.engine.scripts import SIZE, write_script
from tests.engine.serving import ENDLESS, begun, caches_made, say, start
from tests.engine.tiny_models import built, quantize, random_weights, tiny_args, write_folder, write_vocabulary

PLENTY = 1 << 30
KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "window": {"sliding_window": 6},
    "sparse": {"moe": MoEArgs(4, 2)},
    "tied": {"tie_word_embeddings": True},
}
WEIGHTS = {kind: random_weights(tiny_args(**changes)) for kind, changes in KINDS.items()}
MODELS = {kind: built(tiny_args(**changes), WEIGHTS[kind]) for kind, changes in KINDS.items()}
TOKENS = st.lists(st.integers(0, 49), min_size=1, max_size=12)


def scored(
    model: Mistral, prompt: Sequence[int], labels: Sequence[Sequence[int]], prefixes: PrefixCache, shared: int = 0
) -> list[float]:
    runtime = Runtime(model, SimpleNamespace(vocab_size=50), prefixes)
    found = result(model, score(runtime, prompt, labels, shared))
    assert [one.tokens for one in found] == [len(label) for label in labels]
    return [one.log_likelihood for one in found]


def plain(kind: str, prompt: Sequence[int], label: Sequence[int]) -> float:
    """One label by itself: Mistral's forward pass in numpy, and the logarithm of each token's share."""
    logits = logits_of(tiny_args(**KINDS[kind]), WEIGHTS[kind], [*prompt, *label])
    shares = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return float(sum(shares[len(prompt) - 1 + place, token] for place, token in enumerate(label)))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(prompt=TOKENS, labels=st.lists(TOKENS, min_size=1, max_size=4), shared=st.integers(0, 12))
def test_scores_are_those_of_a_plain_computation_one_label_at_a_time(
    kind: str, prompt: list[int], labels: list[list[int]], shared: int
) -> None:
    prefixes = PrefixCache(PLENTY)
    expected = [plain(kind, prompt, label) for label in labels]
    for _ in ("cold", "warm"):
        found = scored(MODELS[kind], prompt, labels, prefixes, min(shared, len(prompt)))
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_beginning_is_computed_once_and_what_follows_it_is_not_kept(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prefixes, seen = MODELS[kind], PrefixCache(PLENTY), []
    hidden = type(model).hidden

    def watched(self: Mistral, x: mx.array, *rest: Any) -> Any:
        seen.append(x.shape[:2])
        return hidden(self, x, *rest)

    monkeypatch.setattr(type(model), "hidden", watched)
    told, labels = list(range(20)), [[1, 2, 3], [4], [5, 6]]
    for text in ([30, 31, 32, 33, 34], [40, 41, 42], [30, 31, 32, 33, 35]):
        scored(model, [*told, *text], labels, prefixes, shared=20)
    assert seen == [(1, 20), (1, 4), (3, 3), (1, 2), (3, 3), (1, 4), (3, 3)]
    assert [len(node.tokens) for node in prefixes._root.children] == [20]


def test_scoring_leaves_a_conversations_cache_as_it_was() -> None:
    for model in (MODELS["dense"], MODELS["window"]):
        prefixes, conversation = PrefixCache(PLENTY), list(range(9))
        scored(model, [*conversation, 9], [[1], [2, 3]], prefixes, shared=9)
        before = scored(model, [*conversation, 9], [[1], [2, 3]], prefixes)
        scored(model, [*conversation[:4], 40, 41, 42], [[1, 2, 3, 4, 5, 6, 7]], prefixes)
        assert scored(model, [*conversation, 9], [[1], [2, 3]], prefixes) == before


def test_continuations_that_need_too_much_memory_at_once_are_computed_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompt, labels = list(range(30)), [[place, place + 1] for place in range(7)]
    at_once = scored(MODELS["dense"], prompt, labels, PrefixCache(PLENTY))
    cache = MODELS["dense"].make_cache()
    MODELS["dense"](mx.array([prompt]), cache)
    for limit in (1, 3 * cache.nbytes):
        monkeypatch.setattr(scoring, "MOST_BYTES", limit)
        assert scored(MODELS["dense"], prompt, labels, PrefixCache(PLENTY)) == pytest.approx(at_once, abs=1e-5)


def test_a_score_is_normalised_by_its_length() -> None:
    assert Score(-6.0, 3).per_token == -2


def scores(engine: Engine, prompt: str, *labels: str, shared: int = 0) -> list[float]:
    encode = engine.tokenizer.encode
    return [one.log_likelihood for one in engine.score(encode(prompt), [encode(label) for label in labels], shared)]


def test_the_engine_finds_likely_what_it_would_say(engine: Engine) -> None:
    likely, first_only, unlikely = scores(engine, "A", "né", "nzz", "zzz")
    assert likely > first_only > unlikely
    assert say(engine, "A", max_tokens=3) == "né"


@pytest.mark.parametrize(
    ("prompt", "labels"), [([], [[1]]), ([65], []), ([65], [[1], []]), ([65], [[SIZE]]), ([65], [[-1]]), ([-1], [[1]])]
)
def test_what_cant_be_scored_is_refused_and_the_engine_lives(
    engine: Engine, prompt: list[int], labels: list[list[int]]
) -> None:
    with pytest.raises(EngineError):
        engine.score(prompt, labels)
    assert say(engine, "E") == ""


def test_prompt_and_continuation_must_fit_the_context_together(tmp_path: Path) -> None:
    with load_engine(write_script(tmp_path, max_position_embeddings=16)) as engine:
        assert len(engine.score([65] * 12, [[66], [66] * 4])) == 2
        with pytest.raises(PromptTooLongError, match="shorten it by 1 or more") as no:
            engine.score([65] * 12, [[66], [66] * 5])
        assert (no.value.tokens, no.value.limit) == (12, 11)


def test_numbers_that_overflow_are_told_and_leave_nothing_behind(engine: Engine) -> None:
    for prompt, label in (("N", "x"), ("I", "x"), ("A", "Nx")):
        with pytest.raises(EngineError, match="NaN"):
            scores(engine, prompt, label)
    assert all(np.isfinite(scores(engine, "A", "x", "yz")))


def test_whatever_fails_while_scoring_is_told_in_a_sentence(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the machine is full")

    monkeypatch.setattr(worker, "score", fail)
    with pytest.raises(EngineError, match="the machine is full"):
        scores(engine, "A", "x")
    monkeypatch.undo()
    assert len(scores(engine, "A", "x")) == 1


class Left(Exception):  # noqa: N818 - nothing went wrong
    """The consumer had enough."""


def test_a_score_waits_its_turn_and_can_be_let_go_of_there(engine_for_one: Engine) -> None:
    engine = engine_for_one
    first = begun(start(engine, "B", ENDLESS))
    told: list[Progress] = []

    def leave(progress: Progress) -> None:
        told.append(progress)
        raise Left

    with pytest.raises(Left):
        engine.score([65], [[66]], on_progress=leave)
    assert told == [Progress("waiting", 0, 1)]
    first.cancel()
    assert len(scores(engine, "A", "x")) == 1


def test_a_score_that_is_let_go_of_while_it_is_computed_frees_the_engine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches, heard, passes = caches_made(monkeypatch), threading.Event(), []
    pieces = scoring.prefill

    async def slow(*given: Any) -> AsyncGenerator[int]:
        async for done in pieces(*given):
            passes.append(done)
            heard.wait()
            yield done

    def leave(progress: Progress) -> None:
        if progress.phase == "prefill":
            raise Left

    monkeypatch.setattr(scoring, "prefill", slow)
    with pytest.raises(Left):
        engine.score([65] * 3 * PREFILL_CHUNK, [[66]], on_progress=leave)
    heard.set()
    assert say(engine, "E") == ""
    assert passes == [PREFILL_CHUNK]
    assert caches[0]() is None


def test_a_closed_engine_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "HEARTBEAT", 0.01)
    engine = load_engine(folder, parallel=1)
    other = begun(start(engine, "B", ENDLESS))

    def close(_: Progress) -> None:
        threading.Thread(target=engine.close).start()

    with pytest.raises(EngineError, match="unloaded"):
        engine.score([65], [[66]], on_progress=close)
    assert list(other)[-1].finish_reason == "cancelled"
    with pytest.raises(EngineError, match="unloaded"):
        engine.score([65], [[66]])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_quantized_model_scores_as_its_own_logits_say(kind: str, tmp_path: Path) -> None:
    args = tiny_args(dim=128, vocab_size=SIZE, head_dim=32, hidden_dim=128, **KINDS[kind])
    write_folder(tmp_path, args, quantize(random_weights(args), 32, 4), quantization={"group_size": 32, "bits": 4})
    write_vocabulary(tmp_path, "<|im_end|>", "<|im_start|>", "<s>")
    with load_engine(tmp_path) as engine:
        prompt, labels = [1, 2, 3, 4, 5], [[6, 7], [8], [9, 10, 11]]
        together = [one.log_likelihood for one in engine.score(prompt, labels)]
        alone = [engine.score(prompt, [label])[0].log_likelihood for label in labels]
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_the_model_that_comes_along_scores_as_one_label_at_a_time(smollm2_path: Path) -> None:
    with load_engine(smollm2_path) as engine:
        encode = engine.tokenizer.encode
        prompt = encode("The capital of France is")
        labels = [encode(label) for label in (" Paris.", " Rome, which isn't true.", " a city")]
        for shared in (0, 4, 4):
            found = engine.score(prompt, labels, shared)
            assert found[0].per_token == max(one.per_token for one in found)
            one_by_one = [engine.score(prompt, [label])[0].log_likelihood for label in labels]
            assert [one.log_likelihood for one in found] == pytest.approx(one_by_one, rel=2e-4, abs=2e-3)
            stepwise = [
                sum(engine.score([*prompt, *label[:n]], [[token]])[0].log_likelihood for n, token in enumerate(label))
                for label in labels
            ]
            assert one_by_one == pytest.approx(stepwise, rel=2e-4, abs=2e-3)
