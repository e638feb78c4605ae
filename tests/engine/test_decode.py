"""Drafts change how a reply is computed, and nothing of what it says."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine import Chunk, Mistral, SamplingParams, Tokenizer, load_model, load_tokenizer
from menny.engine.args import MoEArgs
from menny.engine.cache import Cache
from menny.engine.pass_costs import PassCosts
from menny.engine.passes import PREFILL_CHUNK
from menny.engine.prefix_cache import PrefixCache
from menny.engine.runtime import RequestControl, Runtime
from tests.engine.alone import generate
from tests.engine.scripts import write_script
from tests.engine.tiny_models import built, random_weights, tiny_args

VOCABULARY = 50


class Letters:
    """A vocabulary without control tokens, whose tokens are characters."""

    eos_ids = frozenset({7})
    control_ids: frozenset[int] = frozenset()
    vocab_size = VOCABULARY

    def decoder(self) -> "Letters":
        return self

    def add(self, token: int) -> str:
        return chr(ord("A") + token)

    def finish(self) -> str:
        return ""


class Eager(PassCosts):
    """Costs at which every draft pays."""

    def cost(self, tokens: int) -> float:
        return 1.0


class Passes:
    """A model that counts the passes that verified a draft."""

    def __init__(self, model: Mistral) -> None:
        self.args, self.layers, self.make_cache = model.args, model.layers, model.make_cache
        self.is_exact = model.is_exact
        self.model, self.prefill, self.verified = model, model.prefill, 0

    def __call__(self, tokens: mx.array, cache: Cache) -> tuple[mx.array, Cache]:
        self.verified += tokens.shape[1] > 1
        return self.model(tokens, cache)


def tiny(**changes: Any) -> Mistral:
    args = tiny_args(**changes)
    return built(args, random_weights(args))


MODELS = {
    "dense": tiny(),
    "window of 48": tiny(sliding_window=48),
    "window of 6": tiny(sliding_window=6),
    "sparse": tiny(moe=MoEArgs(num_experts=4, num_experts_per_tok=2)),
    "few words": tiny(vocab_size=6),
}


def say(
    model: Any, prompt: Sequence[int], prefixes: PrefixCache | None = None, stop_after: int = 1 << 30, **params: Any
) -> list[Chunk]:
    """A reply, cancelled after so many tokens."""
    asked: list[int] = []
    chosen = SamplingParams(**({"temperature": 0, "max_tokens": 40, "ignore_eos": True} | params))

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) >= stop_after

    runtime = Runtime(model, Letters(), prefixes or PrefixCache(0), Eager())
    return list(generate(runtime, prompt, chosen, RequestControl(is_cancelled=is_cancelled)))


def tokens(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.token for chunk in chunks if chunk.token is not None]


def told(chunks: Sequence[Chunk]) -> list[tuple[Any, ...]]:
    """All of the chunks but their speeds."""
    return [(chunk.text, chunk.token, chunk.finish_reason, chunk.completion_tokens) for chunk in chunks]


repeating = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=6).map(lambda some: (some * 30)[:30])


@pytest.mark.slow
@settings(max_examples=150)
@given(
    kind=st.sampled_from(["dense", "sparse", "window of 48", "window of 6"]),
    prompt=repeating,
    max_tokens=st.integers(1, 60),
    penalty=st.sampled_from([1.0, 1.0, 1.02, 1.5]),
    context=st.integers(0, 12),
    stop=st.sampled_from([(), ("AB",), ("C", "DQ"), ("XY", "KKK")]),
    ignore_eos=st.booleans(),
)
def test_greedy_replies_are_those_without_drafts(kind: str, prompt: list[int], penalty: float, **params: Any) -> None:
    params |= {"repetition_penalty": penalty, "repetition_context": params.pop("context")}
    with_drafts, without = (say(MODELS[kind], prompt, lookup=lookup, **params) for lookup in (True, False))
    assert told(with_drafts) == told(without)


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), kind=st.sampled_from(["dense", "sparse", "window of 48", "window of 6"]))
def test_conversations_go_on_from_what_drafts_left_in_the_cache(data: st.DataObject, kind: str) -> None:
    prefixes = PrefixCache(1 << 30)
    prompt = data.draw(repeating, "first")
    for _ in range(4):
        stop_after = data.draw(st.integers(1, 50), "cancelled after")
        reply = say(MODELS[kind], prompt, prefixes, stop_after, max_tokens=30)
        fresh = say(MODELS[kind], prompt, None, max_tokens=30, lookup=False)
        assert tokens(reply) == tokens(fresh)[: len(tokens(reply))]
        prompt = [*prompt, *tokens(reply), *data.draw(st.lists(st.integers(0, 49), max_size=4), "new")]


@pytest.mark.parametrize("kind", ["dense", "sparse", "window of 48"])
def test_a_reply_that_repeats_itself_takes_fewer_passes(kind: str) -> None:
    model = Passes(MODELS[kind])
    prompt = np.random.default_rng(0).integers(0, VOCABULARY, 5).tolist() * 2
    assert len(say(model, prompt, max_tokens=38)) == 38
    assert model.verified > 0
    model.verified = 0
    say(model, prompt, max_tokens=38, lookup=False)
    assert model.verified == 0


@pytest.mark.parametrize("seen", [15, 30])
def test_a_cache_that_may_roll_within_the_reply_gets_no_drafts(seen: int) -> None:
    model = Passes(MODELS["window of 48"])
    say(model, ([1, 2, 3] * 20)[:seen], max_tokens=49 - seen)
    assert model.verified == 0


def test_what_is_kept_of_a_reply_with_drafts_is_what_was_said() -> None:
    for stop_after in range(2, 40):  # after the prefill
        prefixes, prompt = PrefixCache(1 << 30), [1, 2, 3] * 5
        chunks = say(MODELS["dense"], prompt, prefixes, stop_after)
        kept = prefixes.pop([*prompt, *tokens(chunks), 9])
        assert kept is not None
        assert kept.cache.offset == len(kept.tokens) >= len(prompt) + len(chunks) - 1


SEED = {"seed": 3, "temperature": 0.8}


def test_a_drawn_reply_with_a_seed_gets_no_drafts() -> None:
    model = Passes(MODELS["dense"])
    say(model, [1, 2, 3] * 5, **SEED)
    assert model.verified == 0
    say(model, [1, 2, 3] * 5, seed=3)
    assert model.verified > 0


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.9}, {"top_k": 8, "min_p": 0.05}, {"repetition_penalty": 1.1}])
@pytest.mark.parametrize("temperature", [0.01, 0.3, 1.0])
def test_by_the_same_chances_a_drawn_reply_is_the_one_without_drafts(
    monkeypatch: pytest.MonkeyPatch, temperature: float, filters: dict[str, Any]
) -> None:
    model = Passes(MODELS["few words"])
    for chance in range(4):
        monkeypatch.setattr(os, "urandom", lambda size, chance=chance: bytes([chance] * size))
        replies = [say(model, [1, 2, 3] * 5, temperature=temperature, lookup=on, **filters) for on in (True, False)]
        assert told(replies[0]) == told(replies[1])
    assert model.verified >= 4


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mistral, Tokenizer]:
    folder: Path = write_script(tmp_path_factory.mktemp("script"))
    return load_model(folder), load_tokenizer(folder)


class Rounding(Passes):
    """A model whose passes of several tokens find others a little likelier, as other hardware's rounding may."""

    def __init__(self, model: Mistral) -> None:
        super().__init__(model)
        self.is_exact = False

    def __call__(self, tokens: mx.array, cache: Cache) -> tuple[mx.array, Cache]:
        logits, cache = super().__call__(tokens, cache)
        tilt = 1e-6 * mx.arange(logits.shape[-1]) / logits.shape[-1] * mx.max(mx.abs(logits))
        return (logits + tilt if tokens.shape[1] > 1 else logits), cache


def test_tokens_that_rounding_could_turn_are_computed_anew(script: tuple[Mistral, Tokenizer]) -> None:
    scripted, tokenizer = script
    model, prompt = Rounding(scripted), tokenizer.encode("0S0S0S0S0S0S")  # after S any digit, all as likely
    greedy = SamplingParams(temperature=0, max_tokens=50)
    for _ in range(2):
        chunks = list(generate(Runtime(model, tokenizer, pass_costs=Eager()), prompt, greedy))
        assert "".join(chunk.text for chunk in chunks) == "0S" * 25
        assert model.verified == 1  # once turned, a reply goes on without drafts
        model.verified = 0


def test_cancelled_while_tokens_are_computed_anew_a_reply_ends(script: tuple[Mistral, Tokenizer]) -> None:
    scripted, tokenizer = script
    prompt = [*tokenizer.encode("xyz" * 8 + "S"), *tokenizer.encode("0S")]
    greedy = SamplingParams(temperature=0, max_tokens=40)
    for stop_after in range(1, 40):
        answers = iter([False] * stop_after + [True] * 99)
        is_cancelled = partial(next, answers)
        runtime = Runtime(Rounding(scripted), tokenizer, pass_costs=Eager())
        chunks = list(generate(runtime, prompt, greedy, RequestControl(is_cancelled=is_cancelled)))
        assert chunks[-1].finish_reason == ("cancelled" if chunks[-1].completion_tokens < 40 else "length")
        assert "".join(chunk.text for chunk in chunks) == ("0S" * 20)[: chunks[-1].completion_tokens]


def test_half_precision_gets_drafts_and_no_second_thoughts() -> None:
    args = tiny_args()
    weights = {name: weight.astype(np.float16) for name, weight in random_weights(args).items()}
    model = Passes(built(args, weights))
    model.model.set_dtype(mx.float16)
    assert len(say(model, [1, 2, 3] * 5, max_tokens=30)) == 30
    assert model.verified > 0
    model.verified = 0
    say(model, [1, 2, 3] * 5, seed=1)
    assert model.verified == 0


def test_a_long_prompt_is_prefilled_before_any_draft() -> None:
    model = Passes(MODELS["dense"])
    prompt = ([1, 2, 3] * 200)[: PREFILL_CHUNK + 50]
    assert tokens(say(model, prompt)) == tokens(say(model, prompt, lookup=False))
