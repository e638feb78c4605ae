"""What was computed is computed once: replies are those of a fresh cache, within the bytes that may be kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine import Chunk, Mistral, SamplingParams, Tokenizer, load_engine, load_model, load_tokenizer
from menny.engine.cache import BLOCK, KVCache, RollingCache
from menny.engine.passes import PREFILL_CHUNK
from menny.engine.prefix_cache import PrefixCache, default_limit
from menny.engine.runtime import RequestControl, Runtime
from menny.errors import EngineError
from tests.engine.alone import generate
from tests.engine.scripts import EOS, write_script
from tests.engine.tiny_models import built, random_weights, tiny_args

PLENTY = 1 << 30


class Bytes:
    """A vocabulary whose tokens have no end and no text."""

    eos_ids: frozenset[int] = frozenset()
    control_ids: frozenset[int] = frozenset()
    vocab_size = 50

    def decoder(self) -> "Bytes":
        return self

    def add(self, token: int) -> str:
        return ""

    def finish(self) -> str:
        return ""


def tiny(window: int | None = None) -> Mistral:
    args = tiny_args(sliding_window=window)
    return built(args, random_weights(args))


def say(
    model: Mistral, prompt: Sequence[int], prefixes: PrefixCache | None, stop_after: int = 1 << 30, **params: Any
) -> list[Chunk]:
    """A reply, cancelled after so many passes."""
    asked: list[int] = []
    chosen = SamplingParams(**({"temperature": 0, "max_tokens": 6} | params))

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) >= stop_after

    runtime = Runtime(model, Bytes(), prefixes or PrefixCache(0))
    return list(generate(runtime, prompt, chosen, RequestControl(is_cancelled=is_cancelled)))


def tokens(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.token for chunk in chunks if chunk.token is not None]


MODELS = {window: tiny(window) for window in (None, 1, 4, 12, 40)}
PROMPTS = [np.random.default_rng(seed).integers(0, 50, 30).tolist() for seed in range(3)]


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), window=st.sampled_from(list(MODELS)), limit=st.sampled_from([PLENTY, 100_000, 0]))
def test_replies_are_those_without_reuse_whatever_was_said_before(
    data: st.DataObject, window: int | None, limit: int
) -> None:
    model, prefixes = MODELS[window], PrefixCache(limit)
    told: list[list[int]] = [list(prompt) for prompt in PROMPTS]
    for _ in range(data.draw(st.integers(1, 8), "turns")):
        base = data.draw(st.sampled_from(told), "continued")
        start = data.draw(st.integers(1, len(base)), "cut at")
        prompt = base[:start] + data.draw(st.lists(st.integers(0, 49), max_size=5), "new")
        stop_after = data.draw(st.sampled_from([1, 2, 3, 1 << 30]), "cancelled after")
        reused, fresh = say(model, prompt, prefixes, stop_after), say(model, prompt, None)
        assert tokens(reused) == tokens(fresh)[: len(tokens(reused))]
        assert stop_after <= 3 or len(reused) == len(fresh)
        assert reused[-1].cached_tokens < len(prompt)
        assert prefixes.nbytes <= limit
        told.append(prompt + tokens(reused))


def test_the_next_turn_computes_only_what_is_new() -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    first = say(model, PROMPTS[0], prefixes)
    assert {chunk.cached_tokens for chunk in first} == {0}
    turn = [*PROMPTS[0], *tokens(first), 7, 8]
    second = say(model, turn, prefixes)
    assert {(chunk.prompt_tokens, chunk.cached_tokens) for chunk in second} == {(38, 36)}
    assert tokens(second) == tokens(say(model, turn, None))


def test_the_same_prompt_again_leaves_its_last_token_to_compute() -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    first, again = (say(model, PROMPTS[0], prefixes) for _ in range(2))
    assert again[-1].cached_tokens == 29
    assert tokens(first) == tokens(again)


def test_two_conversations_with_one_beginning_both_stay() -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    system = PROMPTS[0]
    said = {word: tokens(say(model, [*system, word], prefixes)) for word in (1, 2)}
    for word in (1, 2, 1, 2):
        prompt = [*system, word, *said[word], 9]
        chunks = say(model, prompt, prefixes)
        assert chunks[-1].cached_tokens >= 37
        assert tokens(chunks) == tokens(say(model, prompt, None))


def test_a_rolled_cache_is_reused_where_it_ends_and_nowhere_else() -> None:
    model, prefixes = tiny(8), PrefixCache(PLENTY)
    first = say(model, PROMPTS[0], prefixes)
    turn = [*PROMPTS[0], *tokens(first), 7]
    assert say(model, turn[:20], prefixes)[-1].cached_tokens == 0
    assert say(model, turn, prefixes)[-1].cached_tokens == 36


def test_a_cancelled_reply_leaves_what_it_computed() -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    long = (PROMPTS[0] * 30)[: 2 * PREFILL_CHUNK + 50]
    (cancelled,) = say(model, long, prefixes, stop_after=1)
    assert cancelled.finish_reason == "cancelled"
    chunks = say(model, long, prefixes)
    assert chunks[-1].cached_tokens == PREFILL_CHUNK
    assert tokens(chunks) == tokens(say(model, long, None))


@pytest.mark.parametrize("by_kernels", [True, False])
def test_a_seeded_reply_reuses_what_any_pass_computes_alike(by_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    if by_kernels and not model.is_exact:
        pytest.skip("there are no kernels here")
    monkeypatch.setattr(type(model), "is_exact", by_kernels)
    long = (PROMPTS[0] * 30)[: 2 * PREFILL_CHUNK + 50]
    first = say(model, long, prefixes, seed=3, temperature=1.0)
    again = say(model, long, prefixes, seed=3, temperature=1.0)
    turn = say(model, [*long, *tokens(first), 5], prefixes, seed=3, temperature=1.0)
    assert tokens(again) == tokens(first)
    assert tokens(turn) == tokens(say(model, [*long, *tokens(first), 5], None, seed=3, temperature=1.0))
    chunks = 2 * PREFILL_CHUNK
    all_but_the_last = [len(long) - 1, len(long) + len(tokens(first))]
    cached = [one[-1].cached_tokens for one in (first, again, turn)]
    assert cached == ([0, *all_but_the_last] if by_kernels else [0, chunks, chunks])
    assert say(model, PROMPTS[1], prefixes, seed=3)[-1].cached_tokens == 0


def test_logits_after_whole_chunks_are_the_same_to_the_last_digit() -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    long = (PROMPTS[0] * 30)[: 2 * PREFILL_CHUNK + 50]
    say(model, [*long, 1, 2, 3], prefixes)
    kept = prefixes.pop(long, PREFILL_CHUNK)
    assert kept is not None
    fresh = model.make_cache()
    for start in (0, PREFILL_CHUNK):
        model(mx.array([long[start : start + PREFILL_CHUNK]]), fresh)
    rest = mx.array([long[2 * PREFILL_CHUNK :]])
    assert mx.array_equal(model(rest, kept.cache)[0], model(rest, fresh)[0])


def test_what_was_used_longest_ago_leaves_first() -> None:
    model = tiny()
    one = 2 * 2 * 2 * 8 * 4 * BLOCK  # bytes of a cache of one block: layers, keys and values, heads, dims, float32
    prefixes = PrefixCache(2 * one)
    for place in (0, 1, 0, 2):
        say(model, [*PROMPTS[place], place], prefixes)
        assert prefixes.nbytes <= 2 * one
    assert [prefixes.pop(PROMPTS[place]) is not None for place in (1, 0, 2)] == [False, True, True]


def test_a_conversation_that_goes_on_is_kept_once() -> None:
    model, prefixes = tiny(), PrefixCache(PLENTY)
    prompt = list(PROMPTS[0])
    for _ in range(5):
        prompt += [*tokens(say(model, prompt, prefixes)), 3]
    assert prefixes.nbytes == 2 * 2 * 2 * 8 * 4 * BLOCK


@pytest.mark.parametrize("window", [None, 64])
def test_a_copy_and_what_it_was_copied_from_dont_touch_each_other(window: int | None) -> None:
    model = MODELS[None] if window is None else tiny(window)
    cache = model.make_cache()
    model(mx.array([PROMPTS[0]]), cache)
    assert isinstance(cache[0], KVCache if window is None else RollingCache)
    copy = cache.prefix(10)
    model(mx.array([PROMPTS[1][:20]]), copy)
    fresh = model.make_cache()
    model(mx.array([PROMPTS[0]]), fresh)
    following = mx.array([[5]])
    assert mx.allclose(model(following, cache)[0], model(following, fresh)[0], atol=1e-5)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("script") / "tiny")


def test_a_reply_that_failed_leaves_nothing_behind(script: Path) -> None:
    model: Mistral = load_model(script)
    tokenizer: Tokenizer = load_tokenizer(script)
    prefixes, greedy = PrefixCache(PLENTY), SamplingParams(temperature=0)
    for _ in range(2):
        chunks = generate(Runtime(model, tokenizer, prefixes), tokenizer.encode("xF"), greedy)
        with pytest.raises(EngineError, match="NaN"):
            list(chunks)
        assert prefixes.nbytes == 0


def test_an_engine_reuses_what_it_said_unless_told_not_to(script: Path) -> None:
    for limit, cached in ((None, 17), (0, 0)):
        with load_engine(script, prefix_bytes=limit) as engine:
            first = list(engine.stream(engine.tokenizer.encode("qqqqA"), SamplingParams(temperature=0)))
            said = [chunk.token for chunk in first if chunk.token is not None]
            assert said[-1] == EOS
            prompt = [*engine.tokenizer.encode("qqqqA"), *said, *engine.tokenizer.encode("E")]
            *_, last = engine.stream(prompt, SamplingParams(temperature=0))
            assert (last.prompt_tokens, last.cached_tokens) == (18, cached)


def test_two_contexts_are_kept_but_a_tenth_of_the_memory_at_most() -> None:
    assert 0 < default_limit() <= 1 << 28
    assert default_limit(64 << 30) == 1 << 28
    assert default_limit(64 << 30, 700 << 20) == 1400 << 20
    assert default_limit(64 << 30, 5 << 30) == 2 << 30
    assert default_limit(1 << 30, 5 << 30) == (1 << 30) // 10
