"""Sending, in a real browser: what is typed while a reply is written, files, edits, and who wrote what."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.ui.browsing import AT_REST, REST, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_conversation_by_keyboard_with_a_file_a_queue_and_edits(browser: Browser, staged: str, home: Path) -> None:
    notes = home / "notes.md"
    notes.write_text("The meeting is at nine.\n" * 10)
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), staged)
        page, keyboard = visitor.page, visitor.page.keyboard
        waiting = page.locator("[class*=st-key-waiting-]")
        page.get_by_test_id("stChatInputFileUploadButton").locator("input").set_input_files(notes)
        expect(page.get_by_text("240.0B")).to_be_visible()
        visitor.box.fill("hello until rung")
        expect(page.get_by_role("button", name="Send message")).to_be_enabled()  # the file has arrived
        with slowed(page):
            visitor.box.press("Enter")
            expect(visitor.messages.nth(1)).to_contain_text("3 ")
        expect(visitor.box).to_be_focused()

        keyboard.type("the second")
        compose(visitor.box)  # which neither sends the message nor stops the reply
        keyboard.press("Enter")
        expect(waiting).to_have_count(1)
        keyboard.type("the third")  # the page was drawn anew meanwhile
        keyboard.press("Enter")
        expect(waiting).to_have_count(2)
        waiting.nth(1).get_by_role("button", name="Remove the unsent message").click()
        expect(waiting).to_have_count(1)
        page.get_by_role("button", name="Undo").click()
        expect(waiting.nth(1)).to_contain_text("the third")
        waiting.nth(1).get_by_role("button", name="Remove the unsent message").click()
        expect(waiting).to_have_count(1)
        waiting.get_by_role("button", name="Edit the unsent message").click()
        expect(page.locator('textarea[aria-label="Edit the unsent message"]')).to_be_focused()
        keyboard.type(", edited")
        keyboard.press("Control+Enter")
        expect(waiting).to_contain_text("the second, edited")
        visitor.box.focus()
        keyboard.type("kept")
        (home / "menny" / "rung").touch()
        visitor.wait_for_reply(2)
        expect(visitor.messages.nth(2)).to_contain_text("the second, edited")
        expect(visitor.box).to_be_focused()
        expect(visitor.box).to_have_value("kept")
        visitor.box.fill("")
        edit_replies(visitor)

        visitor.messages.nth(3).get_by_role("button", name="Regenerate with another").click()
        page.get_by_role("menuitem", name="Nora").click()
        expect(visitor.messages.nth(3)).to_contain_text("Nora")
        visitor.wait_for_reply(2)
        expect(visitor.box).to_have_attribute("placeholder", "Message Menny")
        visitor.messages.nth(0).get_by_role("button", name=re.compile("notes.md · 2.. tokens")).click()
        expect(page.get_by_role("dialog")).to_contain_text("The meeting is at nine.")
        keyboard.press("Escape")
        for _ in range(2):  # the other version stands in its place
            expect(visitor.messages).to_have_count(4)
            visitor.messages.nth(3).get_by_role("button", name="Delete from here").click()
            page.wait_for_timeout(500)
        visitor.messages.nth(2).get_by_role("button", name="Answer the message").click()
        assert "The end." in visitor.wait_for_reply(2)


TELLS_OF_A_CHANGE_AS_ENTER_IS_PRESSED = """later => {
  const all = root => [...root.querySelectorAll("*")].flatMap(one => one.shadowRoot
    ? [one, one.shadowRoot, ...all(one.shadowRoot)] : [one])
  const { mennyWatch } = all(document).find(one => one.mennyWatch)
  const tell = () => setTimeout(() => mennyWatch.report(String(performance.now())), later)
  addEventListener("keydown", tell, { capture: true, once: true })
}"""


def test_no_message_is_lost_to_a_change_that_the_page_tells_of_at_the_same_moment(
    browser: Browser, staged: str
) -> None:
    """Left to itself, Streamlit lost one of three."""
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), staged)
        for number in range(5):
            visitor.page.evaluate(AT_REST, REST)
            visitor.box.fill(f"message {number}")
            visitor.page.evaluate(TELLS_OF_A_CHANGE_AS_ENTER_IS_PRESSED, 1 + number % 2)
            visitor.box.press("Enter")
            assert f"You said message {number}" in visitor.wait_for_reply()
            visitor.new_chat()


@contextmanager
def slowed(page: Page) -> Iterator[None]:
    """The page as on a busy machine: what Streamlit replaces is gone for seconds."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": 20})
    yield
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": 1})


def compose(field: Locator) -> None:
    """Press the keys of an input method, within a word that it composes; in Safari, they bear a number instead."""
    for how in ({"isComposing": True}, {"keyCode": 229}):
        for key in ("Escape", "Enter"):
            field.dispatch_event("keydown", {"key": key, "bubbles": True, "cancelable": True, **how})
    field.page.wait_for_timeout(300)


def edit_replies(visitor: Visitor) -> None:
    """Edit the first reply and leave it; edit the second one."""
    page, keyboard = visitor.page, visitor.page.keyboard
    visitor.messages.nth(1).get_by_role("button", name="Edit the reply").click()
    expect(page.locator('textarea[aria-label="Edit the reply"]')).to_be_focused()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    compose(page.locator('textarea[aria-label="Edit the reply"]'))
    expect(page.locator('textarea[aria-label="Edit the reply"]')).to_have_count(1)
    keyboard.press("Escape")
    expect(page.locator('textarea[aria-label="Edit the reply"]')).to_have_count(0)
    visitor.messages.nth(3).get_by_role("button", name="Edit the reply").click()
    expect(page.locator('textarea[aria-label="Edit the reply"]')).to_be_focused()
    keyboard.press("Control+a")
    keyboard.type("My own words.")
    keyboard.press("Control+Enter")
    expect(visitor.messages.nth(3)).to_contain_text(re.compile(r"My own words\..*edited", re.DOTALL))
    visitor.messages.nth(3).get_by_role("button", name="Show the original").click()
    expect(visitor.messages.nth(3)).to_contain_text("You said the second, edited.")
