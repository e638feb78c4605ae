"""The page of models as one sees it first: the model for this machine, families with choices, and what is here."""

import pytest
from streamlit.testing.v1 import AppTest

import menny.models.loader
import menny.ui.models.advice
import menny.ui.shared.options
from menny.config.paths import CONFIGS
from menny.models.loader import a_mac
from menny.ui.models.jobs import shared_work
from tests.ui.conftest import Stage
from tests.ui.models.test_page import draw


@pytest.fixture
def shipped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue that comes along, and a Mac with 16 GB."""
    monkeypatch.setattr(menny.ui.shared.options, "CONFIGS", CONFIGS)
    on_a_mac(monkeypatch, 16)


def on_a_mac(monkeypatch: pytest.MonkeyPatch, gigabytes: int) -> None:
    monkeypatch.setattr(menny.models.loader, "this_machine", lambda: a_mac(gigabytes))
    menny.ui.models.advice._advice.clear()
    shared_work.clear()


def opened() -> AppTest:
    page = AppTest.from_function(draw, default_timeout=60).run()
    assert not page.exception
    return page


def keys(page: AppTest) -> list[str]:
    return [str(button.key) for button in page.button]


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("gigabytes", "best"),
    [
        (8, "ministral-3-3b-8bit"),
        (16, "ministral-3-14b-4bit"),
        (32, "mistral-small-3.2-4bit"),
        (64, "mistral-small-3.2-8bit"),
    ],
)
def test_it_opens_with_the_model_for_this_machine(monkeypatch: pytest.MonkeyPatch, gigabytes: int, best: str) -> None:
    on_a_mac(monkeypatch, gigabytes)
    page = opened()
    headings = [one.value for one in page.subheader]
    assert headings[:3] == ["For this machine", "Your models", "Also fits"]
    assert set(headings[3:]) <= {"Too large"}
    assert next(key for key in keys(page) if key.startswith("get-")) == f"get-{best}"
    assert any("The strongest model that fits this machine" in one.value for one in page.caption)


@pytest.mark.usefixtures("shipped")
def test_a_family_is_one_card_with_its_choices() -> None:
    page = opened()
    assert len([key for key in keys(page) if key.startswith("get-")]) == 7  # six families, and the judge
    page.segmented_control(key="choose-bits-mixtral-8x7b-4bit").set_value(16).run()
    assert "get-mixtral-8x7b-16bit" in keys(page)
    assert "get-mixtral-8x7b-4bit" not in keys(page)

    page.segmented_control(key="choose-size-ministral-3-3b-4bit").set_value("8B").run()
    assert "get-ministral-3-8b-4bit" in keys(page)
    page.segmented_control(key="choose-version-ministral-3-3b-4bit").set_value("Reasoning").run()
    assert "get-ministral-3-8b-reasoning-4bit" in keys(page)
    assert page.segmented_control(key="choose-bits-ministral-3-3b-4bit").options == ["4", "16"]


@pytest.mark.usefixtures("shipped")
def test_another_size_that_is_here_is_one_click_away(stage: Stage) -> None:
    (stage.home / "models" / "ministral-3-3b-4bit.gguf").write_bytes(b"GGUF")
    page = opened()
    assert "get-ministral-3-14b-4bit" in keys(page)
    page.button(key="show-ministral-3-3b-4bit").click().run()
    assert "load-ministral-3-3b-4bit" in keys(page)
    assert "get-ministral-3-14b-4bit" not in keys(page)
