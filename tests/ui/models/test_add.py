"""What is typed where a model or a server is added, and can't be one, is a sentence."""

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
