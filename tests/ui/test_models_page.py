"""The page of models: what is here and fits, loading and unloading, adding and removing, by itself and in the chat."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import menny.ui.models.page
import menny.ui.models.work
from menny.catalogue import load_catalogue
from menny.config import CONFIGS, own_models_file
from menny.errors import TooLargeError
from menny.loading import Tuned
from menny.ui.engines import SharedEngine, shared_engine
from menny.ui.models.work import shared_work
from tests.engine.fake_server import FakeServer, serving

from .conftest import Stage
from .fake_engine import FakeEngine, parrot
from .test_run import wait_until


def draw() -> None:
    import menny.ui.models.page  # noqa: PLC0415 - AppTest runs this function's text

    menny.ui.models.page.draw_models()


@pytest.fixture
def page(stage: Stage) -> AppTest:
    shared_work.clear()
    menny.ui.models.page._fits.clear()
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
    def load(place: object) -> FakeEngine:
        if isinstance(place, Tuned) and place.force:
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
    assert isinstance(shared_engine().loaded, Tuned)


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

    assert any("no token of the hub" in error.value for error in page.error)
    assert not any("my password" in error.value for error in page.error)


def test_an_idle_model_is_unloaded_by_the_timer() -> None:
    engine = FakeEngine(parrot)
    engines = SharedEngine(lambda place: engine)
    engines.idle_seconds = 0.05
    with engines.borrow(Path("a"), lambda _: None, lambda: False):
        assert not engines.unload()
    wait_until(lambda: engines.loaded is None)
    assert engine.closed


def test_the_catalogue_that_comes_along_is_drawn_whole(page: AppTest, monkeypatch) -> None:
    monkeypatch.setattr(menny.ui.library, "CONFIGS", CONFIGS)
    page.run()

    assert not page.exception
    assert "get-mixtral-8x7b-16bit" in {button.key for button in page.button}
