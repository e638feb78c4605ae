"""A search result in a real browser: its message is in view, however far up it is."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from menny.storage import ChatStore, new_id
from tests.ui.browsing import Visitor, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def visitor(browser: Browser, home: Path) -> Iterator[Visitor]:
    with (
        serve("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="5") as address,
        closing(browser.new_page()) as page,
    ):
        yield Visitor(page, address)


def test_a_message_that_was_found_far_up_is_in_view(visitor: Visitor, home: Path) -> None:
    page, search = visitor.page, visitor.page.get_by_role("textbox", name="Search chats")
    visitor.say("before a long chat")
    visitor.wait_for_reply()
    store = ChatStore(home / "menny" / "chats.db")
    chat = new_id()
    parent = None
    for number in range(60):
        _, reply = store.ask(chat, parent, f"quokka{number:02} " + "asks a good deal more than that. " * 20)
        store.finish(reply.id, "And is answered. " * 20, "stop")
        parent = reply.id
    store.close()
    search.fill("quokka07")
    search.press("Enter")
    page.locator(f".st-key-found-{chat} button").click()
    message = visitor.messages.filter(has_text="quokka07")
    expect(message).to_be_in_viewport()
    page.wait_for_timeout(3000)  # whatever else the page does, it stays there
    expect(message).to_be_in_viewport()
    expect(visitor.messages.last).not_to_be_in_viewport()
