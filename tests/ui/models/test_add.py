"""What is typed where a model or a server is added, and can't be one, is a sentence."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from menny.config.paths import own_models_file
from tests.engine.remote.fake_server import FakeServer, serving
from tests.ui.models.test_page import page

__all__ = ["page"]


@pytest.mark.parametrize("path", ["", "~nobody-of-this-name/model", "x" * 5000, "/dev/null", "owner/name/more", "."])
def test_a_path_that_leads_to_no_model_is_a_sentence(page: AppTest, path: str) -> None:
    page.text_input(key="add_path").set_value(path).run()
    page.button(key="add_now").click().run()
    assert not page.exception
    assert len(page.error) == 1
    assert not own_models_file().exists()


def test_a_server_without_a_model_is_a_sentence(page: AppTest) -> None:
    with serving(FakeServer(models={"data": []})) as server:
        page.text_input(key="server_address").set_value(server.address).run()
        page.button(key="server_look").click().run()
    assert not page.exception
    assert "lists no model" in page.error[0].value


def connect(page: AppTest, address: str, **others: str) -> AppTest:
    """Fill the form and click at once, as a browser sends it: what was typed last comes along with the click."""
    for name, text in {"address": address, **others}.items():
        page.text_input(key=f"server_{name}").set_value(text)
    page.button(key="server_look").click().run()
    assert not page.exception
    return page


def offered(page: AppTest) -> list[str]:
    return [name for box in page.selectbox if box.key == "server_model" for name in box.options]


def test_the_first_click_takes_what_was_typed_last(page: AppTest) -> None:
    with serving(FakeServer()) as server:
        connect(page, server.address)
        assert not page.error
        assert offered(page) == ["fake-7b"]
        page.button(key="server_add").click().run()
        assert f"server: {server.address}" in own_models_file().read_text(encoding="utf-8")


def test_another_address_is_looked_at_by_its_first_click_too(page: AppTest) -> None:
    with serving(FakeServer()) as one, serving(FakeServer(models={"data": [{"id": "other"}]})) as other:
        connect(page, one.address)
        connect(page, other.address)
        assert offered(page) == ["other"]
        assert len(one.paths) == len(other.paths) == 1


@pytest.mark.parametrize("changed", ["address", "variable", "key"])
def test_what_is_there_about_one_server_goes_when_the_form_is_changed(page: AppTest, changed: str) -> None:
    with serving(FakeServer()) as server:
        connect(page, server.address)
        assert offered(page)
        page.text_input(key=f"server_{changed}").set_value("http://127.0.0.1:9/v1").run()
        assert not offered(page)
        assert "server_add" not in {button.key for button in page.button}

        connect(page, "http://127.0.0.1:9/v1", variable="", key="")
        assert "is the server running" in page.error[0].value
        page.text_input(key=f"server_{changed}").set_value("http://127.0.0.1:10/v1").run()
        assert not page.error


def test_a_server_that_fails_takes_the_list_of_the_one_before_away(page: AppTest) -> None:
    with serving(FakeServer()) as server:
        connect(page, server.address)
        server.models = {"data": []}
        connect(page, server.address)
        assert not offered(page)
        assert "lists no model" in page.error[0].value


def test_a_key_that_the_server_echoes_is_not_on_the_page(page: AppTest) -> None:
    echo = {"error": {"message": "Incorrect API key provided: sk-proj-****f456"}}
    with serving(FakeServer(status=400, raw_models=json.dumps(echo).encode())) as server:
        connect(page, server.address, key="sk-proj-abc123def456")
        assert "Incorrect API key provided" in page.error[0].value
        assert "sk-proj" not in page.error[0].value
        assert "f456" not in page.error[0].value
