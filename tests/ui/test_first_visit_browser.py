"""A whole first visit, by keyboard alone and by touch alone: from the start page to a second chat, and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.ui.browsing import Visitor, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST_STEPS = 40  # of the Tab key to anything that a visit needs
FOCUSED = """() => {
  let at = document.activeElement
  while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
  return at.ariaLabel || at.placeholder || at.innerText || ""
}"""


@pytest.fixture(scope="module")
def staged(browser: Browser, home: Path) -> Iterator[str]:
    with serve("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="3") as address:
        yield address


def at_rest(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def go_to(page: Page, name: str, key: str = "Shift+Tab") -> None:
    """Press a key until what has this name has the focus."""
    at_rest(page)
    for _ in range(MOST_STEPS):
        page.keyboard.press(key)
        if name in page.evaluate(FOCUSED):
            return
    pytest.fail(f"The keyboard doesn't get to {name}.")


def test_a_first_visit_by_keyboard_alone(browser: Browser, staged: str) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        visitor = Visitor(context.new_page(), staged)
        page, keys = visitor.page, visitor.page.keyboard
        expect(visitor.box).to_be_focused()
        go_to(page, "What should Menny call you?")
        keys.type("Ada")
        keys.press("Enter")
        expect(visitor.box).to_be_focused()  # the question is gone, and the focus with it
        keys.type("hello")
        keys.press("Enter")
        visitor.wait_for_reply()
        expect(visitor.messages.first).to_contain_text("Ada")

        go_to(page, "Regenerate the reply")
        keys.press("Enter")
        expect(visitor.messages.nth(1)).to_contain_text("2/2")
        visitor.wait_for_reply()
        go_to(page, "Previous version")
        for label, place in (("Previous version", "1/2"), ("Next version", "2/2")):
            keys.press("Enter")
            expect(visitor.messages.nth(1)).to_contain_text(place)
            at_rest(page)
            assert page.evaluate(FOCUSED) != label  # it has no further version: the other way has the focus

        keys.press("Control+Shift+O")
        expect(visitor.box).to_be_focused()
        go_to(page, "Talk to Luna")
        keys.press("Enter")
        expect(visitor.box).to_have_attribute("placeholder", "Message Luna")
        expect(visitor.box).to_be_focused()
        keys.type("good evening")
        keys.press("Enter")
        visitor.wait_for_reply()

        keys.press("Control+k")
        keys.type("hello")
        keys.press("Enter")
        expect(page.locator("[class*=st-key-hit-]")).to_be_visible()
        go_to(page, "hello", "Tab")
        keys.press("Enter")
        expect(visitor.messages.first).to_contain_text("hello")
        expect(visitor.box).to_have_attribute("placeholder", "Message Menny")


def test_a_first_visit_by_touch_alone(browser: Browser, staged: str) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with browser.new_context(**options, color_scheme="dark") as context:
        visitor = Visitor(context.new_page(), staged)
        page = visitor.page

        def tap(what: Locator) -> None:
            at_rest(page)
            box = what.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44, what
            what.tap()

        def named(name: str) -> Locator:
            return page.get_by_role("button", name=name)

        tap(named("Talk to Menny"))  # whoever was chosen last
        expect(visitor.box).to_have_attribute("placeholder", "Message Menny")
        tap(page.get_by_test_id("stMain").get_by_role("button", name="Explain attention"))
        visitor.wait_for_reply()
        tap(visitor.messages.nth(1).get_by_role("button", name="Regenerate the reply"))
        expect(visitor.messages.nth(1)).to_contain_text("2/2")
        visitor.wait_for_reply()
        sidebar, more = page.get_by_test_id("stSidebar"), page.get_by_test_id("stExpandSidebarButton")
        tap(more)
        tap(sidebar.get_by_role("button", name="New chat"))
        expect(sidebar).to_have_attribute("data-collapsed", "true")
        tap(named("Talk to Luna"))
        expect(visitor.box).to_have_attribute("placeholder", "Message Luna")
        assert page.evaluate("document.activeElement.tagName") != "TEXTAREA"  # no keyboard over half of the screen
        visitor.box.tap()
        page.keyboard.type("good evening")
        tap(named("Send message"))
        visitor.wait_for_reply()
        assert page.evaluate("document.documentElement.scrollWidth") == 390

        tap(more)
        tap(named("Filter"))
        tap(page.get_by_role("combobox", name="Persona"))
        page.get_by_role("option", name="Menny").tap()
        page.keyboard.press("Escape")
        chats = page.locator("[class*=st-key-chat-row-]")
        expect(chats.filter(has_text="Explain attention")).to_have_count(1)
        expect(chats.filter(has_text="Explain attention")).to_be_visible()
        tap(chats.filter(has_text="Explain attention").get_by_role("button", name="More for"))
        tap(page.get_by_role("menuitem").filter(has_text="Delete"))
        tap(sidebar.get_by_role("button", name="Undo"))
        expect(visitor.messages.first).to_contain_text("Explain attention")
        tap(named("Temporary chat"))
        expect(sidebar).to_have_attribute("data-collapsed", "true")
        expect(page.get_by_text("Temporary chat. It isn't saved")).to_be_in_viewport()
