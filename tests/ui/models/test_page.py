"""The page of models: what is here and fits; loading and unloading, adding and removing, converting."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import menny.engine.checkpoints.background_convert
import menny.engine.checkpoints.convert
import menny.ui.models.advice
import menny.ui.models.jobs
import menny.ui.models.page
from menny.config.paths import own_models_file
from menny.engine import load_model
from menny.engine.checkpoints.convert import convert
from menny.errors import TooLargeError
from menny.models.catalogue import load_catalogue
from menny.models.loader import ModelSource
from menny.ui.models.jobs import shared_work
from menny.ui.shared.shared_engine import SharedEngine, shared_engine
from tests.engine.remote.fake_server import FakeServer, serving
from tests.engine.tiny_models import random_weights, tiny_args, write_folder, write_vocabulary
from tests.ui.chat.test_reply_job import wait_until
from tests.ui.conftest import Stage
from tests.ui.fake_engine import FakeEngine, parrot


def draw() -> None:
    import menny.ui.models.page  # noqa: PLC0415 - AppTest runs this function's text

    menny.ui.models.page.draw_models()


@pytest.fixture
def page(stage: Stage) -> AppTest:
    shared_work.clear()
    menny.ui.models.advice._advice.clear()
    drawn = AppTest.from_function(draw, default_timeout=60).run()
    assert not drawn.exception
    return drawn


def settled(page: AppTest) -> AppTest:
    wait_until(lambda: not shared_work().is_under_way)
    return page.run()


def test_every_model_has_a_card_with_what_can_be_done(page: AppTest) -> None:
    keys = {button.key for button in page.button}

    assert {"load-here", "get-absent"} < keys
    assert not {"get-here", "load-absent", "unload"} & keys


def test_a_model_is_loaded_ahead_and_unloaded_by_a_button(page: AppTest, stage: Stage) -> None:
    settled(page.button(key="load-here").click().run())
    assert stage.loaded == [stage.home / "models" / "little.gguf"]
    assert page.button(key="load-here").disabled

    page.button(key="unload").click().run()
    assert stage.engine.closed
    assert shared_engine().loaded is None
    assert "unload" not in {button.key for button in page.button}


def test_what_does_not_fit_is_told_and_can_be_loaded_all_the_same(page: AppTest, stage: Stage) -> None:
    def load(source: ModelSource) -> FakeEngine:
        if source.options.force:
            return FakeEngine(parrot)
        raise TooLargeError("It needs 9 GB, and this machine can give 1 GB.", 9, 1)

    stage.load = load
    settled(page.button(key="load-here").click().run())
    assert any("this machine can give 1 GB" in error.value for error in page.error)

    page.button(key="close-here").click().run()
    assert not page.error
    page.toggle(key="force-here").set_value(True).run()
    settled(page.button(key="load-here").click().run())
    assert not page.error
    assert (loaded := shared_engine().loaded) is not None
    assert loaded.options.force


def test_a_model_of_ones_own_is_added_and_removed_again(page: AppTest, stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.gguf"
    other.write_bytes(b"GGUF")
    page.text_input(key="add_path").set_value(str(other)).run()
    page.text_input(key="add_name").set_value("Über Model").run()
    page.button(key="add_now").click().run()

    specs, problems = load_catalogue(stage.configs / "models.yaml", stage.home / "models", own_file=own_models_file())
    assert problems == []
    added = next(spec for spec in specs if spec.name == "Über Model")
    assert added.path() == other
    assert f"load-{added.id}" in {button.key for button in page.button}

    page.button(key=f"remove-now-{added.id}").click().run()
    assert f"load-{added.id}" not in {button.key for button in page.button}
    assert other.exists()


def test_a_repository_without_a_name_of_ones_own_keeps_its_name(page: AppTest) -> None:
    page.text_input(key="add_path").set_value("owner/Model-v0.3-4bit").run()
    page.button(key="add_now").click().run()

    assert "name: Model-v0.3-4bit\n" in own_models_file().read_text()
    assert "get-model-v0.3-4bit" in {button.key for button in page.button}


def test_what_is_no_model_is_a_sentence(page: AppTest, tmp_path: Path) -> None:
    page.text_input(key="add_path").set_value(str(tmp_path)).run()
    page.button(key="add_now").click().run()

    assert "is not a model" in page.error[0].value
    assert not own_models_file().exists()


def test_files_in_the_models_folder_are_removed_for_good(page: AppTest, stage: Stage) -> None:
    page.button(key="remove-now-here").click().run()

    assert not (stage.home / "models" / "little.gguf").exists()
    assert "load-here" not in {button.key for button in page.button}


def test_a_server_is_added_with_the_models_that_it_has(page: AppTest, stage: Stage) -> None:
    with serving(FakeServer()) as server:
        page.text_input(key="server_address").set_value(server.address).run()
        page.button(key="server_look").click().run()
        assert page.selectbox(key="server_model").options == ["fake-7b"]
        page.button(key="server_add").click().run()

        (spec,) = load_catalogue(own_models_file(), stage.home / "models")[0][:1]
        assert (spec.id, spec.template, spec.context_length) == ("fake-7b", "chatml", 900)
        assert f"load-{spec.id}" in {button.key for button in page.button}

    page.text_input(key="server_address").set_value("http://127.0.0.1:9/v1").run()
    page.button(key="server_look").click().run()
    assert any("is the server running" in error.value for error in page.error)


def test_a_token_that_is_none_is_a_sentence_without_it(page: AppTest) -> None:
    page.text_input(key="hub_token").set_value("my password").run()
    page.button(key="keep_token").click().run()

    assert any("valid Hugging Face token" in error.value for error in page.error)
    assert not any("my password" in error.value for error in page.error)


def test_an_idle_model_is_unloaded_by_the_timer() -> None:
    engine = FakeEngine(parrot)
    engines = SharedEngine(lambda place: engine)
    engines.idle_seconds = 0.05
    with engines.borrow(Path("a"), lambda _: None, lambda: False):
        assert not engines.unload()
    wait_until(lambda: engines.loaded is None)
    assert engine.closed


def test_the_timer_is_the_same_in_every_tab(page: AppTest) -> None:
    other = AppTest.from_function(draw, default_timeout=60).run()
    page.selectbox(key="idle").select(300).run()
    assert shared_engine().idle_seconds == 300
    other.run()
    assert (other.selectbox(key="idle").value, shared_engine().idle_seconds) == (300, 300)
    other.selectbox(key="idle").select(0).run()
    page.run()
    assert (page.selectbox(key="idle").value, shared_engine().idle_seconds) == (0, None)


def test_the_timer_is_kept_over_a_restart(page: AppTest, stage: Stage) -> None:
    page.selectbox(key="idle").select(900).run()
    shared_engine.clear()
    assert shared_engine().idle_seconds == 900
    assert (stage.home / "settings.yaml").read_text() == "unload_after: 900\n"

    page.selectbox(key="idle").select(0).run()
    shared_engine.clear()
    assert shared_engine().idle_seconds is None


@pytest.mark.parametrize("text", ["unload_after: soon\n", "unload_after: 0\n", "[", "unlod_after: 3\n"])
def test_settings_that_cannot_be_read_are_told_and_left_as_they_are(page: AppTest, stage: Stage, text: str) -> None:
    (stage.home / "settings.yaml").write_text(text)
    page.run()
    assert "settings.yaml" in plain(one.value for one in page.warning)
    page.selectbox(key="idle").select(900).run()
    assert shared_engine().idle_seconds == 900
    assert (stage.home / "settings.yaml").read_text() == text


# Converting


@pytest.fixture
def tiny(stage: Stage, request: pytest.FixtureRequest) -> Path:
    """A small model of random weights in the models folder, as wide as a test wants."""
    folder = stage.home / "models" / "tiny"
    folder.mkdir()
    args = tiny_args(vocab_size=262, hidden_dim=getattr(request, "param", 128), head_dim=16)
    write_folder(folder, args, random_weights(args))
    write_vocabulary(folder, "<|im_end|>", "<|im_start|>", "<s>")
    return folder


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Conversions wait here after their first matrix."""
    opened = threading.Event()

    def slow(source: Path, target: Path, numbers: Any, on_progress: Callable[[int, int], None]) -> None:
        def report(done: int, total: int) -> None:
            on_progress(done, total)
            opened.wait(60)

        convert(source, target, numbers, report)

    monkeypatch.setattr(menny.engine.checkpoints.background_convert, "convert", slow)
    return opened


def keys(page: AppTest) -> set[str]:
    return {button.key for button in page.button}


def plain(texts: Iterable[str]) -> str:
    return "\n".join(texts).replace("\\", "")


def captions(page: AppTest) -> str:
    return plain(one.value for one in page.caption)


def lying(folder: Path) -> set[str]:
    """What is in the models folder, hidden or not."""
    return {path.name for path in folder.parent.iterdir()}


def test_a_converted_model_is_in_the_list_and_can_be_loaded(page: AppTest, stage: Stage, tiny: Path) -> None:
    page.run()
    assert "convert-now-tiny" in keys(page)
    assert "kB now, about" in plain(one.value for one in page.markdown)
    settled(page.button(key="convert-now-tiny").click().run()).run()

    target = tiny.with_name("tiny-4bit")
    assert load_model(target).args.n_layers == 2
    assert "Converted: tiny-4bit is here." in captions(page)
    settled(page.button(key="load-tiny-4bit").click().run())
    assert stage.loaded == [target]

    assert "tiny-4bit already exists: remove it first" in captions(page)
    assert page.button(key="convert-now-tiny").disabled
    page.segmented_control(key="bits-tiny").set_value(8).run()
    assert not page.button(key="convert-now-tiny").disabled


@pytest.mark.parametrize("tiny", [96], indirect=True)
def test_it_is_converted_in_groups_that_divide_its_widths(page: AppTest, tiny: Path) -> None:
    settled(page.run().button(key="convert-now-tiny").click().run())
    assert '"group_size": 32' in (tiny.with_name("tiny-4bit") / "config.json").read_text()


@pytest.mark.parametrize("tiny", [80], indirect=True)
def test_one_that_no_groups_divide_is_refused_in_the_pages_own_words(page: AppTest, tiny: Path) -> None:
    settled(page.run().button(key="convert-now-tiny").click().run())
    assert "tiny can't be converted to 4 bits, as its rows can't be divided into groups. Choose 16 bits." in plain(
        error.value for error in page.error
    )


def test_it_shows_how_far_it_is_and_a_cancelled_one_leaves_nothing(
    page: AppTest, tiny: Path, gate: threading.Event
) -> None:
    before = lying(tiny)
    page.run()
    page.button(key="convert-now-tiny").click().run()
    conversion = shared_work().conversions["tiny"]
    wait_until(lambda: conversion.share > 0)
    page.run()
    assert 0 < conversion.share < 1
    assert f"Converting to tiny-4bit: {conversion.share:.0%}" in plain(one.proto.text for one in page.get("progress"))
    assert page.button(key="convert-now-tiny").disabled
    assert ".tiny-4bit.converting" in lying(tiny)
    assert "load-tiny-4bit" not in keys(page)

    page.button(key="cancel-conversion-tiny").click()
    page.run()
    gate.set()
    settled(page)
    assert conversion.doing == "cancelled"
    assert "The conversion was cancelled. Nothing of it was kept." in captions(page)
    assert lying(tiny) == before


def appears(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    target.mkdir()


def has_no_room(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    monkeypatch.setattr(menny.engine.checkpoints.convert.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))


def fills(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    def write(path: Path, arrays: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(menny.engine.checkpoints.convert, "write_safetensors", write)


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (appears, "already exists: choose another name"),
        (has_no_room, "The disk has too little room"),
        (fills, "The disk is full"),
    ],
)
def test_one_that_fails_is_a_sentence_and_leaves_nothing(
    page: AppTest,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[pytest.MonkeyPatch, Path], None],
    words: str,
) -> None:
    page.run()
    happens(monkeypatch, tiny.with_name("tiny-4bit"))
    before = lying(tiny)
    settled(page.button(key="convert-now-tiny").click().run())
    told = plain(error.value for error in page.error)
    assert words in told
    assert "\n" not in told
    assert lying(tiny) == before

    page.button(key="close-tiny").click().run()
    assert not page.error


def test_the_page_follows_a_model_that_a_chat_uses(page: AppTest, stage: Stage) -> None:
    settled(page.button(key="load-here").click().run())
    with shared_engine().borrow(ModelSource(stage.loaded[0]), lambda _: None, lambda: False):
        assert page.run().button(key="unload").disabled
        assert menny.ui.models.page._is_moving(shared_work(), shared_engine())  # so it is drawn anew by itself
    assert not menny.ui.models.page._is_moving(shared_work(), shared_engine())
    assert not page.run().button(key="unload").disabled
