"""An engine is loaded whole or not at all, and once closed leaves nothing behind: no reply, no thread, no memory."""

import gc
import queue
import signal
import threading
from pathlib import Path

import pytest

from menny.engine import load_engine, loader, worker
from menny.errors import EngineError, ModelError
from tests.engine.scripts import SIZE, TEXT, write_script
from tests.engine.serving import ENDLESS, begun, models_loaded, say, start
from tests.engine.tiny_models import random_weights, tiny_args, write_folder, write_vocabulary


def test_closing_the_engine_ends_every_reply_its_thread_and_its_memory(folder, monkeypatch):
    models = models_loaded(monkeypatch)
    before = set(threading.enumerate())
    engine = load_engine(folder, parallel=1)
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


def test_freed_memory_is_returned_once_after_replies_and_after_forgetting(folder, monkeypatch):
    returned = queue.SimpleQueue()
    monkeypatch.setattr(worker, "BREATH", 0.05)
    with load_engine(folder) as engine:
        monkeypatch.setattr(worker, "return_freed_memory", lambda: returned.put(None))
        say(engine, "x")
        returned.get(timeout=20)
        engine.forget_caches()
        returned.get(timeout=20)
        with pytest.raises(queue.Empty):
            returned.get(timeout=0.3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its replies end in their middle
def test_no_reply_waits_for_a_thread_that_an_error_has_ended(folder, monkeypatch):
    with load_engine(folder, parallel=1) as engine:
        running, waiting = begun(start(engine, "B", ENDLESS)), start(engine, "A")

        def fail(*_):
            raise RuntimeError("the machine is on fire")

        monkeypatch.setattr(worker.Scheduler, "step", fail)
        for stream in (running, waiting):
            with pytest.raises(EngineError, match="tiny was unloaded: choose a model again"):
                list(stream)
        with pytest.raises(EngineError, match="tiny was unloaded"):
            start(engine, "A")


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
        "lacks weights, such as model.safetensors": no_weights,
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
    models = models_loaded(monkeypatch)
    gc.disable()
    try:
        with pytest.raises(ModelError):
            load_engine(folder)
    finally:
        gc.enable()
    assert [model() for model in models] == [None]


def test_an_engine_that_is_interrupted_while_it_loads_ends_when_it_has_loaded(folder, monkeypatch):
    models, before, went_on = models_loaded(monkeypatch), set(threading.enumerate()), threading.Event()
    build = loader.build_model

    def interrupted(args, source, **options):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        went_on.wait()
        return build(args, source, **options)

    monkeypatch.setattr(loader, "build_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_engine(folder)
    went_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert [model() for model in models] == [None]
