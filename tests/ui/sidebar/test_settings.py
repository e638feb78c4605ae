"""The settings of the app in the sidebar that are one switch each."""

from menny.config.settings import load_settings
from tests.ui.conftest import Stage


def test_titles_by_the_model_are_switched_off_and_on_for_all_chats(stage: Stage) -> None:
    page = stage.open_page()
    switch = page.toggle(key="titles")
    assert (switch.label, switch.value) == ("Let the model title chats", True)
    switch.set_value(False).run()
    assert not load_settings().titles
    page = stage.open_page()
    assert not page.toggle(key="titles").value
    page.toggle(key="titles").set_value(True).run()
    assert load_settings().titles
