"""A cache comes back from its file as it was, and what isn't such a file is never believed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import CacheFolder, Chunk, Engine, Mistral, SamplingParams, load_engine, load_model, worker
from menny.engine.cache import Cache, KVCache, RollingCache
from menny.engine.cache_files import ENDING, MAGIC, CachedPrefix, CacheFiles, binding_of
from tests.engine.scripts import write_script
from tests.engine.tiny_models import built, random_weights, tiny_args

TOKENS = tuple(int(one) for one in np.random.default_rng(0).integers(0, 50, 300))


def tiny(window: int | None = None) -> Mistral:
    args = tiny_args(sliding_window=window)
    return built(args, random_weights(args))


def read(model: Mistral, tokens: tuple[int, ...] = TOKENS) -> CachedPrefix:
    cache = model.make_cache()
    model.prefill(mx.array([tokens]), cache)
    return CachedPrefix(tokens, cache, 256)


def next_logits(model: Mistral, kept: CachedPrefix) -> np.ndarray:
    logits, _ = model(mx.array([[7, 8]]), kept.cache)
    return np.array(logits.astype(mx.float32))


@pytest.mark.parametrize("window", [None, 8, 299, 400])
def test_a_conversation_goes_on_from_its_file_as_from_its_cache(tmp_path: Path, window: int | None) -> None:
    model = tiny(window)
    CacheFiles(tmp_path, "model").save(read(model))
    again = CacheFiles(tmp_path, "model")
    assert again.longest((*TOKENS, 7)) == 300
    found = again.load((*TOKENS, 7, 8), model.make_cache)
    assert found is not None
    assert (found.tokens, found.prefilled, found.cache.offset) == (TOKENS, 256, 300)
    assert np.array_equal(next_logits(model, found), next_logits(model, read(model)))


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_half_precision_comes_back_to_the_bit(tmp_path: Path, dtype: mx.Dtype) -> None:
    cache = Cache([KVCache(), RollingCache(256)])
    for layer in cache:
        layer.update(*(mx.random.normal((1, 2, 300, 8)).astype(dtype) for _ in range(2)))
    CacheFiles(tmp_path, "model").save(CachedPrefix(TOKENS, cache, 0))
    found = CacheFiles(tmp_path, "model").load((*TOKENS, 7), lambda: Cache([KVCache(), RollingCache(256)]))
    assert found is not None
    for before, after in zip(cache.state, found.cache.state, strict=True):
        assert after.dtype == dtype
        assert mx.array_equal(before[..., : after.shape[2], :], after)


def test_a_prompt_that_differs_has_what_it_has_in_common(tmp_path: Path) -> None:
    CacheFiles(tmp_path, "model").save(read(tiny()))
    assert CacheFiles(tmp_path, "model").longest((*TOKENS[:200], 49, 49)) == 200
    rolled = tmp_path / "rolled"
    CacheFiles(rolled, "model").save(read(tiny(8)))
    assert CacheFiles(rolled, "model").longest((*TOKENS[:200], 49, 49)) == 0


def test_another_model_does_not_see_it_and_it_stays(tmp_path: Path) -> None:
    CacheFiles(tmp_path, "model").save(read(tiny()))
    assert CacheFiles(tmp_path, "another").longest((*TOKENS, 7)) == 0
    assert CacheFiles(tmp_path, "model").longest((*TOKENS, 7)) == 300


def test_a_longer_conversation_takes_the_place_of_its_beginning(tmp_path: Path) -> None:
    model, files = tiny(), CacheFiles(tmp_path, "model")
    files.save(read(model, TOKENS[:200]))
    files.save(read(model))
    files.save(read(model))
    assert len(list(tmp_path.iterdir())) == 1
    files.clear()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_bounded_and_what_was_used_longest_ago_leaves_first(tmp_path: Path) -> None:
    model = tiny()
    size = read(model).cache.nbytes
    files = CacheFiles(tmp_path, "model", limit=2 * size)
    chats = [tuple((token + shift) % 50 for token in TOKENS) for shift in range(5)]
    for number, chat in enumerate(chats):
        before = set(tmp_path.iterdir())
        files.save(read(model, chat))
        (new,) = set(tmp_path.iterdir()) - before
        os.utime(new, (number, number))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * size
    assert [files.longest((*chat, 7)) for chat in chats[3:]] == [300, 300]
    assert files.longest((*chats[0], 7)) == 0
    small = CacheFiles(tmp_path / "small", "model", limit=100)
    small.save(read(model))
    assert not (tmp_path / "small").exists()


def test_files_and_folder_are_private(tmp_path: Path) -> None:
    CacheFiles(tmp_path / "cache", "model").save(read(tiny()))
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    CacheFiles(tmp_path / "cache", "model").save(read(tiny()))
    assert CacheFiles(tmp_path / "cache", "model").longest((*TOKENS, 7)) == 0


def test_a_thousand_mutations_are_removed_and_never_believed(tmp_path: Path) -> None:
    model, draw = tiny(), random.Random(0)
    CacheFiles(tmp_path, "model").save(read(model, TOKENS[:130]))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    prompt = (*TOKENS[:130], 7, 8)
    head = len(whole) - 2 * 130 * 4
    expected = next_logits(model, read(model, TOKENS[:130]))
    for number in range(1000):
        mutated = bytearray(whole)
        match number % 4:
            case 0:  # in the header, where most can go wrong
                mutated[draw.randrange(min(700, head))] = draw.randrange(256)
            case 1:
                mutated[draw.randrange(len(mutated))] ^= 1 << draw.randrange(8)
            case 2:
                del mutated[draw.randrange(len(mutated)) :]
            case 3:
                at = draw.randrange(len(mutated))
                mutated[at:at] = draw.randbytes(draw.randrange(1, 9))
        file.write_bytes(mutated)
        found = CacheFiles(tmp_path, "model").load(prompt, model.make_cache)
        if found is not None:
            assert bytes(mutated) == whole or number % 4 == 0, number
            assert np.array_equal(next_logits(model, found), expected)
        for path in tmp_path.glob(f"*{ENDING}"):
            path.unlink()


@pytest.mark.parametrize(
    "header", [b"[" * 100_000, b'{"binding": "", "tokens": 1e999}', b'{"binding": "", "tokens": null}']
)
def test_a_header_that_no_cache_has_is_removed_and_loads_nothing(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / f"x{ENDING}"
    file.write_bytes(MAGIC + len(header).to_bytes(8, "little") + header)
    assert CacheFiles(tmp_path, "model").longest(TOKENS) == 0
    assert not file.exists()


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{ENDING}")
    (tmp_path / f"folder{ENDING}").mkdir()
    CacheFiles(tmp_path, "model", limit=1 << 20).save(read(tiny()))
    assert CacheFiles(tmp_path, "model").longest((*TOKENS, 7)) == 300


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from menny.files import open_atomic\n"
        "with open_atomic(Path(sys.argv[1])) as file:\n"
        "    file.write(bytes(1 << 20)); print('writing', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / f"x{ENDING}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        CacheFiles(tmp_path, "model")
        assert len(list(tmp_path.iterdir())) == 1
        writer.kill()
    CacheFiles(tmp_path, "model")
    assert list(tmp_path.iterdir()) == []


def test_what_an_engine_of_other_sources_kept_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_script(tmp_path / "model")
    before = binding_of(model)
    assert binding_of(model) == before
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"changed" if path.name == "model.py" else b"")
    one = binding_of(model)
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"again" if path.name == "model.py" else b"")
    assert len({before, one, binding_of(model)}) == 3


# In the engine


def reply(engine: Engine, prompt: list[int], **params: Any) -> Chunk:
    *_, last = engine.stream(prompt, SamplingParams(temperature=0, max_tokens=4, **params))
    return last


def test_a_chat_goes_on_after_a_restart_without_being_read_anew(tmp_path: Path) -> None:
    model = write_script(tmp_path / "model", chats=True)
    folder = CacheFolder(tmp_path / "cache")
    prompt = [ord("x")] * 400
    with load_engine(model, cache_folder=folder) as engine:
        reply(engine, prompt, keep_cache=True)
        reply(engine, [ord("y")] * 400)  # of a chat that isn't kept
    assert len(list(folder.path.iterdir())) == 1
    with load_engine(model, cache_folder=folder) as engine:
        assert reply(engine, [*prompt, *b"yzxyz"], keep_cache=True).cached_tokens >= 400
        assert reply(engine, [ord("y")] * 410).cached_tokens == 0
        engine.forget_caches()
        assert reply(engine, [*prompt, *b"yzxyz"]).cached_tokens == 0
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize("rooms", [0, 1])
def test_what_memory_has_no_room_for_goes_on_from_its_file(tmp_path: Path, rooms: int) -> None:
    model, folder = write_script(tmp_path / "model", chats=True), CacheFolder(tmp_path / "cache")
    kept, forgotten = [[letter] * 400 for letter in b"xyz"], [ord("t")] * 400
    _, one = load_model(model)(mx.array([forgotten]))
    with load_engine(model, prefix_bytes=rooms * one.nbytes, cache_folder=folder) as engine:
        reply(engine, forgotten)
        for chat in kept:
            reply(engine, chat, keep_cache=True)
        assert [reply(engine, [*chat, 7, 8], keep_cache=True).cached_tokens >= 400 for chat in kept] == [True] * 3
        assert reply(engine, [*forgotten, 7, 8]).cached_tokens == 0


def test_it_is_written_when_the_engine_is_at_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "QUIET", 0.05)
    folder = CacheFolder(tmp_path / "cache")
    with load_engine(write_script(tmp_path / "model", chats=True), cache_folder=folder) as engine:
        reply(engine, [ord("x")] * 400, keep_cache=True)
        for _ in range(200):
            if folder.path.is_dir() and list(folder.path.glob(f"*{ENDING}")):
                break
            time.sleep(0.05)
        else:
            pytest.fail("no file was written")
        assert reply(engine, [*[ord("x")] * 400, *b"yzxyz"], keep_cache=True).cached_tokens >= 400


def test_a_cache_that_memory_has_no_room_to_write_costs_no_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(worker, "QUIET", 0.05)
    monkeypatch.setattr(CacheFiles, "save", fail)
    folder = CacheFolder(tmp_path / "cache")
    with load_engine(write_script(tmp_path / "model", chats=True), cache_folder=folder) as engine:
        reply(engine, [ord("x")] * 400, keep_cache=True)
        for _ in range(200):
            if "no room" in caplog.text:
                break
            time.sleep(0.05)
        assert reply(engine, [ord("x")] * 410, keep_cache=True).cached_tokens >= 400
    assert caplog.text.count("A cache can't be kept in a file: no room") == 2  # once for each, not once a moment


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    with load_engine(write_script(tmp_path / "model"), cache_folder=CacheFolder(tmp_path / "cache", 0)) as engine:
        reply(engine, [ord("B")] * 400, keep_cache=True)
    assert not (tmp_path / "cache").exists()


def test_a_model_whose_file_has_changed_does_not_read_them(tmp_path: Path) -> None:
    model, folder = write_script(tmp_path / "model", chats=True), CacheFolder(tmp_path / "cache")
    with load_engine(model, cache_folder=folder) as engine:
        reply(engine, [ord("x")] * 400, keep_cache=True)
    os.utime(model / "config.json", (1, 1))
    with load_engine(model, cache_folder=folder) as engine:
        assert reply(engine, [ord("x")] * 420).cached_tokens == 0
