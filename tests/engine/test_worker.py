"""One engine serves many: in their order, each its whole reply, and whatever ends one reply leaves the others alone."""

import gc
import threading
from collections.abc import AsyncGenerator
from typing import Any

import mlx.core as mx
import pytest

from menny.engine import Chunk, Progress, SamplingParams, load_engine, worker
from menny.engine.runtime import RequestControl, Runtime
from menny.errors import EngineError, PromptTooLongError
from tests.engine.scripts import EOS, SIZE, TEXT, write_script
from tests.engine.serving import ENDLESS, begun, caches_made, say, start, text


def test_an_engine_tells_its_name_its_context_and_its_vocabulary(engine):
    assert engine.name == "tiny"
    assert engine.context_length == 1 << 20
    assert engine.tokenizer.vocab_size == SIZE


def test_a_stream_is_an_iterator_of_chunks_that_ends(engine):
    stream = start(engine, "xyz A")
    chunks = list(stream)
    assert text(chunks) == TEXT
    assert (chunks[-1].finish_reason, chunks[-1].token) == ("stop", EOS)
    assert (chunks[-1].prompt_tokens, chunks[-1].completion_tokens) == (5, len(TEXT.encode()) + 1)
    assert next(stream, "over") == "over"


def test_without_parameters_the_defaults_count(engine):
    assert text(list(engine.stream(engine.tokenizer.encode("A")))) == TEXT


def test_a_reply_ends_where_the_context_does(tmp_path):
    with load_engine(write_script(tmp_path, max_position_embeddings=16)) as engine:
        chunks = list(start(engine, "0123456B", ENDLESS))
        assert (text(chunks), chunks[-1].finish_reason) == ("xyzxyzxy", "length")
        chunks = list(start(engine, "0123456789abcdB", ENDLESS))  # room for one token
        assert (text(chunks), chunks[-1].finish_reason) == ("x", "length")


def test_a_prompt_beyond_the_context_is_refused_with_by_how_much(tmp_path):
    with load_engine(write_script(tmp_path, max_position_embeddings=16)) as engine:
        for length, over in ((16, 1), (20, 5)):
            with pytest.raises(
                PromptTooLongError, match=f"has {length} tokens.*holds 16: shorten it by {over} or"
            ) as no:
                engine.stream([65] * length)
            assert (no.value.tokens, no.value.limit) == (length, 15)
        assert say(engine, "A", max_tokens=3) == "né"


@pytest.mark.parametrize("ids", [[], [-1], [65, SIZE], [1 << 40], "A", [65.5], None])
def test_a_prompt_that_the_model_cant_read_is_refused_and_the_engine_lives(engine, ids):
    with pytest.raises(EngineError, match="prompt"):
        engine.stream(ids)
    assert say(engine, "A") == TEXT


def test_logits_that_arent_numbers_end_one_reply_and_the_engine_lives(engine):
    stream = start(engine, "F")
    assert next(stream).text == "f"
    with pytest.raises(EngineError, match="NaN"):
        list(stream)
    assert next(stream, "over") == "over"
    assert say(engine, "A") == TEXT


def test_whatever_fails_in_the_engine_ends_one_reply_with_a_sentence(engine, monkeypatch, caplog):
    async def fail(*_: Any) -> AsyncGenerator[Chunk]:
        yield Chunk("so far")
        raise RuntimeError("the machine is full")

    monkeypatch.setattr(worker, "generate", fail)
    stream = start(engine, "A")
    assert next(stream).text == "so far"
    with pytest.raises(EngineError, match="the machine is full"):
        next(stream)
    assert "The engine failed" in caplog.text
    monkeypatch.undo()
    assert say(engine, "A") == TEXT


def test_an_error_that_is_kept_keeps_no_cache(engine, monkeypatch):
    caches = caches_made(monkeypatch)
    with pytest.raises(EngineError) as error:
        list(start(engine, "F"))
    say(engine, "E")
    gc.collect()
    assert error.value is not None
    assert [cache() is None for cache in caches] == [True, False]  # the second reply ended well


def test_who_waits_hears_how_many_are_ahead_in_its_own_thread(engine_for_one):
    engine = engine_for_one
    first = begun(start(engine, "B", ENDLESS))
    second = start(engine, "B", ENDLESS)
    third, told = start(engine, "A"), []

    def listen(progress: Progress) -> None:
        told.append((progress, threading.current_thread()))
        if progress.total == 2:
            second.cancel()
        elif progress.total == 1:
            first.cancel()

    third._on_progress = listen
    assert text(list(third)) == TEXT
    phases = list(dict.fromkeys(progress for progress, _ in told))
    assert phases[:2] == [Progress("waiting", 0, 2), Progress("waiting", 0, 1)]
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_a_silent_prefill_is_heard_of_while_it_lasts(engine, monkeypatch):
    heard = {done: threading.Event() for done in (0, 256)}

    async def slow(runtime: Runtime, prompt: Any, params: Any, control: RequestControl) -> AsyncGenerator[Chunk]:
        heard[0].wait()
        control.on_prefill(256)
        heard[256].wait()
        yield Chunk("done", finish_reason="stop")

    monkeypatch.setattr(worker, "generate", slow)
    told = []

    def listen(progress: Progress) -> None:
        told.append(progress)
        if progress.phase == "prefill":
            heard[progress.done].set()

    assert text(list(start(engine, "q" * 400, on_progress=listen))) == "done"
    prefills = [progress for progress in dict.fromkeys(told) if progress.phase == "prefill"]
    assert prefills == [Progress("prefill", 0, 400), Progress("prefill", 256, 400)]


def test_consumers_at_once_each_get_their_whole_reply(engine):
    prompts = {"A": TEXT, "B": "xyz" * 20, "D": "\ufffdd\ufffde", "E": "", "C": ""}
    replies: dict[int, str] = {}

    def consume(place: int, prompt: str) -> None:
        replies[place] = say(engine, prompt, max_tokens=60)

    wanted = [(place, prompt) for place, prompt in enumerate(list(prompts) * 4)]
    consumers = [threading.Thread(target=consume, args=each) for each in wanted]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    assert replies == {place: prompts[prompt] for place, prompt in wanted}


def test_streams_are_served_in_their_order_whoever_reads_first(engine):
    streams = [start(engine, prompt) for prompt in ("A", "D", "A")]
    assert [text(list(stream)) for stream in reversed(streams)] == [TEXT, "\ufffdd\ufffde", TEXT]


def test_the_same_seed_gives_the_same_reply_whatever_else_ran_before(engine):
    seeded = {"temperature": 0.5, "max_tokens": 40, "seed": 7}
    alone = say(engine, "S", **seeded)
    mx.random.seed(1)
    free = say(engine, "S", temperature=0.5, max_tokens=33)
    first, second = (start(engine, "S", SamplingParams(**(seeded | {"seed": seed}))) for seed in (7, 8))
    pairs = list(zip(first, second, strict=True))
    assert text([chunk for chunk, _ in pairs]) == alone == say(engine, "S", **seeded)
    assert len({alone[:33], free, text([chunk for _, chunk in pairs])[:33]}) == 3


def test_a_second_reply_begins_before_the_first_ends_and_both_go_on_while_texts_are_scored(engine):
    first = begun(start(engine, "B", SamplingParams(temperature=0, max_tokens=5000)))
    assert say(engine, "A") == TEXT
    assert [score.tokens for score in engine.score([65], [[66], [67, 68]])] == [1, 2]
    assert next(first).finish_reason is None
    first.cancel()
    assert list(first)[-1].finish_reason == "cancelled"
