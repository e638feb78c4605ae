"""A reply comes as chunks whose texts are the reply, ends for the right reason, and is the same for the same seed."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import Chunk, Mistral, SamplingParams, Tokenizer, load_model, load_tokenizer
from menny.engine.passes import PREFILL_CHUNK
from menny.engine.runtime import RequestControl, Runtime
from menny.engine.speculative import decoding_of
from menny.errors import EngineError
from tests.engine.alone import each, generate, prefill
from tests.engine.scripts import DIGITS, EOS, INFINITE, NOT_A_NUMBER, SIZE, TEXT, write_script
from tests.engine.tiny_models import built, random_weights, tiny_args

GREEDY = SamplingParams(temperature=0)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mistral, Tokenizer]:
    folder = write_script(tmp_path_factory.mktemp("script"))
    return load_model(folder), load_tokenizer(folder)


def reply(
    script: tuple[Mistral, Tokenizer],
    prompt: str,
    on_prefill: Callable[[int], None] = lambda done: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    **params: Any,
) -> list[Chunk]:
    model, tokenizer = script
    chosen = SamplingParams(**({"temperature": 0} | params))
    control = RequestControl(on_prefill, is_cancelled)
    return list(generate(Runtime(model, tokenizer), tokenizer.encode(prompt), chosen, control))


def text(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def tokens(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.token for chunk in chunks if chunk.token is not None]


def test_a_reply_ends_with_the_end_of_turn_token_which_has_no_text(script):
    chunks = reply(script, "xyz A")
    assert text(chunks) == TEXT
    assert tokens(chunks) == [*TEXT.encode(), EOS]
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].text == ""


def test_no_chunk_holds_half_a_character(script):
    assert [chunk.text for chunk in reply(script, "A")] == ["n", "", "é", "", "", "日", "", "", "", "🙂", "!", ""]


def test_chunks_count_the_prompt_and_the_reply_so_far(script):
    chunks = reply(script, "12345 A")
    assert [chunk.completion_tokens for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert {(chunk.prompt_tokens, chunk.cached_tokens) for chunk in chunks} == {(7, 0)}
    assert len({chunk.seconds_to_first_token for chunk in chunks}) == 1
    for chunk in chunks:
        assert all(0 <= x < math.inf for x in (chunk.prompt_tps, chunk.decode_tps, chunk.seconds_to_first_token))


def test_the_end_of_turn_token_is_passed_over_where_that_is_asked(script):
    (chunk, *more) = reply(script, "E", max_tokens=5, ignore_eos=True)
    assert (chunk.token, len(more), more[-1].finish_reason) == (EOS, 4, "length")


def test_a_reply_that_ends_at_once_is_one_chunk_without_text(script):
    (chunk,) = reply(script, "E")
    assert (chunk.text, chunk.token, chunk.finish_reason, chunk.completion_tokens) == ("", EOS, "stop", 1)


@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_a_reply_without_an_end_ends_at_max_tokens(script, count):
    chunks = reply(script, "B", max_tokens=count)
    assert text(chunks) == ("xyz" * count)[:count]
    assert (len(chunks), chunks[-1].finish_reason) == (count, "length")


@pytest.mark.parametrize("count", range(1, 13))
def test_wherever_a_reply_is_cut_its_text_is_what_its_tokens_decode_to(script, count):
    chunks = reply(script, "A", max_tokens=count)
    assert text(chunks) == script[1].decode(tokens(chunks))
    assert "\ufffd" not in text(chunks)
    assert chunks[-1].finish_reason == ("stop" if count == 12 else "length")


@pytest.mark.parametrize("prompt", ["C", "D"])
def test_bytes_that_are_no_text_come_as_the_tokenizer_decodes_them(script, prompt):
    chunks = reply(script, prompt)
    assert text(chunks) == script[1].decode(tokens(chunks)) == {"C": "", "D": "\ufffdd\ufffde"}[prompt]


def test_a_stop_string_over_several_tokens_ends_the_reply_before_it(script):
    chunks = reply(script, "A", stop=["日🙂"])
    assert text(chunks) == "né"
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].token == "🙂".encode()[-1]
    assert chunks[-1].completion_tokens == len("né日🙂".encode())


def test_several_stop_strings_end_at_the_first(script):
    assert text(reply(script, "B", stop=["zxyzx", "yzx", "never"])) == "x"


def test_text_held_back_for_a_stop_string_comes_at_the_end(script):
    assert text(reply(script, "A", stop=["!?"])) == TEXT
    chunks = reply(script, "B", stop=["zxx"], max_tokens=4)
    assert (text(chunks), chunks[-1].finish_reason) == ("xyzx", "length")


def test_a_stop_string_completed_by_the_last_token_allowed_counts(script):
    chunks = reply(script, "B", stop=["zx"], max_tokens=4)
    assert (text(chunks), chunks[-1].finish_reason) == ("xy", "stop")
    chunks = reply(script, "B", stop=["yzxyx", "z"], max_tokens=4)  # the longer one might still have come
    assert (text(chunks), chunks[-1].finish_reason) == ("xy", "stop")


def test_the_prompt_is_prefilled_by_chunks_that_tell_how_far_they_are(script):
    told: list[int] = []
    chunks = reply(script, "q" * (2 * PREFILL_CHUNK + 7) + "A", on_prefill=told.append)
    assert told == [PREFILL_CHUNK, 2 * PREFILL_CHUNK, 2 * PREFILL_CHUNK + 7]
    assert text(chunks) == TEXT


def test_a_prompt_of_one_token_needs_no_prefill(script):
    told: list[int] = []
    assert text(reply(script, "A", on_prefill=told.append)) == TEXT
    assert told == []


def test_cancelled_within_the_prefill_a_reply_is_one_last_chunk(script):
    told: list[int] = []
    prompt = "q" * 3 * PREFILL_CHUNK + "A"
    (chunk,) = reply(script, prompt, on_prefill=told.append, is_cancelled=lambda: len(told) == 2)
    assert (chunk.text, chunk.token, chunk.finish_reason) == ("", None, "cancelled")
    assert (chunk.prompt_tokens, chunk.completion_tokens) == (len(prompt), 0)
    assert len(told) == 2


def test_cancelled_within_the_reply_it_ends_with_the_token_at_hand(script):
    asked: list[int] = []
    chunks = reply(script, "B", is_cancelled=lambda: asked.append(1) or len(asked) == 5)
    assert (text(chunks), chunks[-1].finish_reason) == ("xyzxy", "cancelled")


def test_a_reply_that_ended_by_itself_wasnt_cancelled(script):
    assert reply(script, "E", is_cancelled=lambda: True)[-1].finish_reason == "stop"
    assert reply(script, "B", is_cancelled=lambda: True, max_tokens=1)[-1].finish_reason == "length"


@pytest.mark.parametrize(("prompt", "said"), [("F", b"f" + bytes([NOT_A_NUMBER])), ("G", b"g" + bytes([INFINITE]))])
@pytest.mark.parametrize("params", [{}, {"temperature": 1.0, "seed": 1}, {"repetition_penalty": 1.2}])
def test_logits_that_arent_numbers_end_the_reply_with_an_error_after_what_was_said(script, prompt, said, params):
    model, tokenizer = script
    chosen = SamplingParams(**({"temperature": 0} | params))
    chunks = generate(Runtime(model, tokenizer), tokenizer.encode(prompt), chosen)
    assert bytes(next(chunks).token for _ in said) == said
    with pytest.raises(EngineError, match="NaN"):
        next(chunks)


def test_a_prompt_with_nonsense_in_it_is_an_error_too(script):
    with pytest.raises(EngineError, match="NaN"):
        reply(script, "N" + "q" * 300 + "A")


def test_rows_of_the_model_beyond_the_vocabulary_are_never_drawn(tmp_path):
    folder = write_script(tmp_path, spare_rows=4)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    assert (model.args.vocab_size, tokenizer.vocab_size) == (SIZE + 4, SIZE)
    for params in ({}, {"temperature": 5.0, "seed": 3}):
        assert max(tokens(reply((model, tokenizer), "P", max_tokens=30, **params))) < SIZE
    assert text(reply((model, tokenizer), "P", max_tokens=1)) == "p"


SEEDED = {"temperature": 0.5, "max_tokens": 40}


def test_the_same_seed_gives_the_same_reply_whatever_else_ran_before(script):
    first = text(reply(script, "S", seed=7, **SEEDED))
    mx.random.seed(99)
    reply(script, "B", temperature=1.0, max_tokens=10)
    reply(script, "S", seed=8, **SEEDED)
    assert text(reply(script, "S", seed=7, **SEEDED)) == first


def test_two_replies_under_way_at_once_dont_touch_each_others_draws(script):
    model, tokenizer = script
    alone = [text(reply(script, "S", seed=seed, **SEEDED)) for seed in (1, 2)]
    both = [
        generate(Runtime(model, tokenizer), tokenizer.encode("S"), SamplingParams(seed=s, **SEEDED)) for s in (1, 2)
    ]
    together = list(zip(*both, strict=True))
    assert [text(chunks) for chunks in zip(*together, strict=True)] == alone


def test_other_seeds_and_no_seed_give_other_replies(script):
    seeded = {text(reply(script, "S", seed=seed, **SEEDED)) for seed in (0, 1, (1 << 32) + 1, (1 << 64) - 1)}
    free = {text(reply(script, "S", **SEEDED)) for _ in range(4)}
    assert (len(seeded), len(free)) == (4, 4)


def test_the_draws_of_one_reply_differ_from_step_to_step(script):
    drawn = text(reply(script, "S", seed=5, temperature=0.5, max_tokens=400))[::2]
    assert set(drawn) == set("0123456789")
    assert len({drawn[i : i + 3] for i in range(len(drawn) - 2)}) > 100


def penalised_by_hand(prompt: str, context: int, count: int) -> str:
    """Greedy S-and-digits: the likeliest follower that isn't among the last tokens, the lowest among equals."""
    said = list(prompt.encode())
    for _ in range(count):
        followers = DIGITS if said[-1] == ord("S") else [ord("S")]
        recent = said[-context:] if context else []
        said.append(min(followers, key=lambda token: (token in recent, token)))
    return bytes(said[len(prompt) :]).decode()


@pytest.mark.parametrize("context", [0, 1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("prompt", ["S", "0S", "3 1 0 2S"])
def test_the_repetition_penalty_looks_at_the_last_tokens_of_prompt_and_reply(script, prompt, context):
    chunks = reply(script, prompt, repetition_penalty=1.5, repetition_context=context, max_tokens=30)
    assert text(chunks) == penalised_by_hand(prompt, context, 30)


def test_a_penalty_of_1_is_off(script):
    assert text(reply(script, "0S", repetition_penalty=1.0, max_tokens=6)) == "0S0S0S"


@pytest.mark.parametrize("window", [None, 1, 5, 16])
def test_greedy_tokens_are_those_of_the_whole_text_computed_anew_each_time(window):
    args = tiny_args(sliding_window=window)
    model = built(args, random_weights(args))
    prompt = np.random.default_rng(2).integers(0, args.vocab_size, 12).tolist()
    expected = list(prompt)
    for _ in range(20):
        expected.append(int(mx.argmax(model(mx.array([expected]))[0][0, -1])))
    cache = model.make_cache()
    assert list(prefill(model, mx.array(prompt[:-1]), cache)) == [11]
    runtime = Runtime(model, SimpleNamespace(vocab_size=args.vocab_size))
    got = each(model, decoding_of(runtime, cache, prompt, GREEDY).tokens())
    assert [next(got) for _ in range(20)] == expected[12:]


def test_a_thousand_random_tokens_make_the_text_that_they_decode_to(tmp_path):
    args = tiny_args(dim=32, n_layers=1, vocab_size=SIZE, hidden_dim=32)
    folder = write_script(tmp_path)  # for its vocabulary
    tokenizer = load_tokenizer(folder)
    chunks = reply((built(args, random_weights(args)), tokenizer), "any", temperature=3.0, seed=1, max_tokens=1000)
    assert text(chunks) == tokenizer.decode(tokens(chunks))


def test_a_folder_and_its_path_as_text_load_alike(tmp_path):
    folder = write_script(tmp_path)
    assert load_model(str(folder)).args == load_model(Path(folder)).args


def test_no_stop_string_goes_across_a_control_token(script: tuple[Mistral, Tokenizer]) -> None:
    model, tokenizer = script
    plain = reply(script, "0", max_tokens=6)
    at = next(number for number, chunk in enumerate(plain) if number and chunk.text)
    stop = plain[at].text + plain[at + 1].text
    assert reply(script, "0", max_tokens=6, stop=[stop])[-1].finish_reason == "stop"

    class Marking:
        """The same vocabulary, in which a token of the reply is a mark, as that of a thought's end is."""

        control_ids = frozenset({plain[at].token})

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

    marking: Any = Marking()
    params = SamplingParams(temperature=0, max_tokens=6, stop=[stop])
    chunks = list(generate(Runtime(model, marking), tokenizer.encode("0"), params))
    assert [chunk.text for chunk in chunks][: at + 1] == [chunk.text for chunk in plain][: at + 1]
