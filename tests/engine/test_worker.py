"""One engine serves many: in their order, each its whole reply, and whatever ends one reply leaves the others alone."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from scripts import EOS, SIZE, TEXT, write_script
from tiny_models import random_weights, tiny_args, write_folder, write_vocabulary

from menny.engine import Chunk, Engine, Mistral, Progress, SamplingParams, Stream, load_engine, worker
from menny.errors import EngineError, ModelError, PromptTooLongError

GREEDY = SamplingParams(temperature=0)
ENDLESS = SamplingParams(temperature=0, max_tokens=1 << 29)  # with a prompt that ends in B


@pytest.fixture(autouse=True)
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT", 0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("script") / "tiny")


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with load_engine(folder) as engine:
        yield engine


def start(
    engine: Engine, prompt: str, params: SamplingParams = GREEDY, on_progress: Callable[[Progress], None] | None = None
) -> Stream:
    """A stream; a test that waits in vain fails rather than hangs."""
    left = iter(range(3000))

    def impatient(_: Progress) -> None:
        assert next(left, None) is not None, "the engine is taken"

    return engine.stream(engine.tokenizer.encode(prompt), params, on_progress or impatient)


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def say(engine: Engine, prompt: str, **params: Any) -> str:
    """A whole reply."""
    return text(list(start(engine, prompt, SamplingParams(**({"temperature": 0} | params)))))


def begun(stream: Stream) -> Stream:
    """A stream whose reply has begun."""
    assert next(stream).finish_reason is None
    return stream


class Halt(BaseException):
    """What a page's framework raises to stop a script; not an Exception."""


def test_an_engine_tells_its_name_its_context_and_its_vocabulary(engine):
    assert engine.name == "tiny"
    assert engine.context_length == 1 << 30
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


@pytest.mark.parametrize("ids", [[], [-1], [65, SIZE], [1 << 40]])
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
    def fail(*_: Any) -> Iterator[Chunk]:
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


def caches_made(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    made: list[weakref.ref] = []
    make_cache = Mistral.make_cache

    def make(model: Mistral) -> Any:
        cache = make_cache(model)
        made.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(Mistral, "make_cache", make)
    return made


def test_cancelling_from_another_thread_ends_a_reply_and_frees_the_place(engine):
    stream = start(engine, "B", ENDLESS)
    chunks: list[Chunk] = []
    first = threading.Event()

    def consume() -> None:
        for chunk in stream:
            chunks.append(chunk)
            first.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    first.wait()
    stream.cancel()
    assert say(engine, "A") == TEXT
    consumer.join()
    assert chunks[-1].finish_reason == "cancelled"
    assert text(chunks) == ("xyz" * len(chunks))[: len(text(chunks))]
    assert chunks[-1].completion_tokens == len(text(chunks)) == len(chunks)


def test_cancelling_twice_or_after_the_end_changes_nothing(engine):
    stream = begun(start(engine, "B", ENDLESS))
    stream.cancel()
    stream.cancel()
    assert list(stream)[-1].finish_reason == "cancelled"
    stream.cancel()
    assert list(stream) == []
    finished = start(engine, "A")
    assert text(list(finished)) == TEXT
    finished.cancel()
    assert say(engine, "A") == TEXT


def test_a_stream_that_nobody_holds_any_more_frees_its_place(engine):
    stream = begun(start(engine, "B", ENDLESS))
    del stream
    assert say(engine, "A") == TEXT


def test_a_loop_that_is_left_frees_its_place(engine):
    for chunk in start(engine, "B", ENDLESS):
        if chunk.completion_tokens == 3:
            break
    assert say(engine, "A") == TEXT


def test_a_closed_stream_yields_no_more_and_frees_its_place(engine):
    stream = begun(start(engine, "B", ENDLESS))
    stream.close()
    assert list(stream) == []
    assert say(engine, "A") == TEXT


def test_a_stream_let_go_of_before_its_turn_is_passed_over(engine, monkeypatch):
    caches = caches_made(monkeypatch)
    first = begun(start(engine, "B", ENDLESS))
    waiting = start(engine, "B", ENDLESS)
    del waiting
    first.cancel()
    assert say(engine, "A") == TEXT
    assert len(caches) == 2  # the first's and the last's


def test_a_stream_cancelled_before_its_turn_says_so_at_once(engine):
    first = begun(start(engine, "B", ENDLESS))
    waiting = start(engine, "A")
    waiting.cancel()
    (chunk,) = waiting
    assert (chunk.finish_reason, chunk.text, chunk.token, chunk.prompt_tokens) == ("cancelled", "", None, 1)
    assert next(first).finish_reason is None  # untouched
    first.cancel()


def test_who_waits_hears_how_many_are_ahead_in_its_own_thread(engine):
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

    def slow(model: Any, vocabulary: Any, prompt: Any, params: Any, on_prefill: Callable[[int], None], *_: Any) -> Any:
        heard[0].wait()
        on_prefill(256)
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


@pytest.mark.parametrize("stop", [Halt, ValueError, KeyboardInterrupt])
def test_a_consumer_stopped_within_its_callback_frees_its_place(engine, stop):
    def halt(_: Progress) -> None:
        raise stop

    first = begun(start(engine, "B", ENDLESS))
    waiting = start(engine, "B", ENDLESS, on_progress=halt)
    with pytest.raises(stop):
        next(waiting)
    first.cancel()
    assert say(engine, "A") == TEXT
    assert [chunk.finish_reason for chunk in waiting] == ["cancelled"]


def test_a_consumer_stopped_within_its_callback_while_its_own_prefill_runs_frees_its_place(engine, monkeypatch):
    ended = threading.Event()

    def slow(*arguments: Any) -> Iterator[Chunk]:
        is_cancelled = arguments[5]
        while not is_cancelled():
            pass
        ended.set()
        yield Chunk("", finish_reason="cancelled")

    def halt(_: Progress) -> None:
        raise Halt

    monkeypatch.setattr(worker, "generate", slow)
    with pytest.raises(Halt):
        list(start(engine, "q", on_progress=halt))
    ended.wait()
    monkeypatch.undo()
    assert say(engine, "A") == TEXT


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


def test_closing_the_engine_ends_every_reply_its_thread_and_its_memory(folder, monkeypatch):
    models: list[weakref.ref] = []
    load = worker.load_model

    def loaded(path: Path) -> Mistral:
        model = load(path)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(worker, "load_model", loaded)
    before = set(threading.enumerate())
    engine = load_engine(folder)
    running = begun(start(engine, "B", ENDLESS))
    waiting = [start(engine, "A"), start(engine, "A")]
    engine.close()
    assert set(threading.enumerate()) == before
    assert list(running)[-1].finish_reason == "cancelled"
    assert [[chunk.finish_reason for chunk in stream] for stream in waiting] == [["cancelled"]] * 2
    assert [model() for model in models] == [None]
    with pytest.raises(EngineError, match="tiny was unloaded"):
        start(engine, "A")
    running.cancel()
    engine.close()  # once more, to no effect


def test_two_engines_live_side_by_side(folder):
    with load_engine(folder) as one, load_engine(folder) as other:
        first = begun(start(one, "B", ENDLESS))
        assert say(other, "A") == TEXT
        first.cancel()
    assert list(first)[-1].finish_reason == "cancelled"


def broken_folders(folder: Path) -> dict[str, Path]:
    """Folders that are no whole model, by what the sentence says of them."""
    args = tiny_args(dim=SIZE, vocab_size=SIZE)
    no_vocabulary = write_folder(folder / "a", args, random_weights(args))
    no_weights = write_script(folder / "b")
    (no_weights / "model.safetensors").unlink()
    cut_short = write_script(folder / "c")
    whole = (cut_short / "model.safetensors").read_bytes()
    (cut_short / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    too_small = tiny_args(vocab_size=SIZE - 1)
    smaller = write_folder(folder / "d", too_small, random_weights(too_small))
    write_vocabulary(smaller, "<|im_end|>", "<|im_start|>", "<s>")
    too_large = tiny_args(vocab_size=SIZE + 513)
    larger = write_folder(folder / "e", too_large, random_weights(too_large))
    write_vocabulary(larger, "<|im_end|>", "<|im_start|>", "<s>")
    return {
        "has no vocabulary": no_vocabulary,
        "has no weights": no_weights,
        "is cut short": cut_short,
        f"a vocabulary of {SIZE - 1} tokens, but its tokenizer one of {SIZE}": smaller,
        f"a vocabulary of {SIZE + 513} tokens, but its tokenizer one of {SIZE}": larger,
        "No such file": folder / "nowhere.gguf",
    }


def test_a_model_that_cant_be_loaded_is_a_sentence_and_leaves_no_thread_behind(tmp_path):
    before = set(threading.enumerate())
    for what, path in broken_folders(tmp_path).items():
        with pytest.raises(ModelError) as refused:
            load_engine(path)
        assert what in str(refused.value)
        assert str(path) in str(refused.value)
    assert set(threading.enumerate()) == before


def test_a_model_that_is_refused_at_the_end_isnt_kept(tmp_path, monkeypatch):
    args = tiny_args(vocab_size=SIZE + 513)
    folder = write_folder(tmp_path, args, random_weights(args))
    write_vocabulary(folder, "<|im_end|>", "<|im_start|>", "<s>")
    models: list[weakref.ref] = []
    load = worker.load_model

    def loaded(path: Path) -> Mistral:
        model = load(path)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(worker, "load_model", loaded)
    gc.disable()
    try:
        with pytest.raises(ModelError):
            load_engine(folder)
    finally:
        gc.enable()
    assert [model() for model in models] == [None]
