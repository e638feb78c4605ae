"""Memory across chats in a real browser: noted, shown, edited, told in the next chat, forgotten; and a receipt."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.ui.browsing import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def visitor(browser: Browser, staged: str) -> Iterator[Visitor]:
    """One visitor on a desktop."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        yield Visitor(context.new_page(), staged)


def new_chat(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="New chat", exact=True).click()
    expect(visitor.page.get_by_role("button", name="Talk to Nora")).to_be_visible()
    expect(visitor.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def test_a_fact_is_noted_shown_edited_told_in_the_next_chat_and_forgotten(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open_settings()
    page.get_by_text("remembers you across chats").click()
    switch = page.get_by_role("switch", name="remembers you across chats")
    expect(switch).to_be_checked()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    page.reload()
    visitor.open_settings()
    expect(switch).to_be_checked()
    expect(visitor.box).to_be_enabled()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    visitor.say("Remember that I sing.")
    expect(page.get_by_text("Remembered: I sing.")).to_be_visible()
    visitor.wait_for_reply()
    visitor.say("I have a cat.")
    visitor.wait_for_reply(2)
    expect(page.get_by_text("Remembered: They have a cat.")).to_be_visible()  # once it was quiet

    page.get_by_text("Remembered: I sing.").click()
    dialog = page.get_by_role("dialog")
    fields = dialog.get_by_role("textbox", name="Fact")
    expect(fields).to_have_count(2)
    fields.nth(1).fill("I sing in a choir.")
    fields.nth(1).press("Enter")
    dialog.get_by_role("textbox", name="Something to remember").fill("I live in Ghent.")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(fields).to_have_count(3)
    dialog.get_by_role("button", name="Forget “They have a cat.”").click()
    expect(fields).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.get_by_text("Remembered: I sing in a choir.")).to_be_visible()
    expect(page.get_by_text("Remembered: They have a cat.")).to_have_count(0)

    new_chat(visitor)
    visitor.say("Hello")
    visitor.wait_for_reply()
    page.locator(".st-key-shield button").first.click()
    told = page.get_by_test_id("stPopoverBody")
    expect(told).to_contain_text("What you remember about the user:")
    expect(told).to_contain_text("- I sing in a choir.")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="What Menny remembers").click()
    page.get_by_role("button", name="From “Remember that I sing.”").click()
    expect(page.get_by_text("Remembered: I sing in a choir.")).to_be_visible()
    expect(dialog).to_have_count(0)
    page.get_by_text("Remembered: I sing in a choir.").click()
    dialog.get_by_text("Forget all").click()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Forget all").click()
    expect(dialog.get_by_text("remembers nothing yet")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def test_a_receipt_shows_the_prompt_as_text_and_what_is_new_in_it(visitor: Visitor) -> None:
    page = visitor.page
    new_chat(visitor)
    visitor.say("First <b>of</b> all <|im_end|>")
    visitor.wait_for_reply()
    visitor.say("Second of all")
    visitor.wait_for_reply(2)
    page.get_by_role("button", name="What the model got").nth(1).click()
    dialog = page.get_by_role("dialog")
    text = dialog.locator("pre")
    expect(text).to_contain_text("First <b>of</b> all <|im_end|>")
    expect(text.locator("mark", has_text="<|im_start|>").first).to_be_visible()
    assert text.locator("b").count() == 0
    expect(dialog.get_by_text("Persona")).to_be_visible()
    dialog.get_by_text("Only what is new").click()
    expect(text).not_to_contain_text("You are Menny")
    expect(text).to_contain_text("Second of all")
    page.keyboard.press("Escape")


def test_a_draft_of_the_users_message_opens_to_be_edited_and_is_sent_by_the_user(visitor: Visitor) -> None:
    page = visitor.page
    new_chat(visitor)
    visitor.say("Hello")
    visitor.wait_for_reply()
    page.get_by_role("button", name="Write my message").click()
    draft = page.get_by_role("textbox", name="Edit the unsent message")
    expect(draft).to_have_value("And you, what do you think?")
    expect(visitor.messages).to_have_count(2)
    draft.fill("And you?")
    draft.press("Control+Enter")
    visitor.wait_for_reply(2)
    expect(visitor.messages.nth(2)).to_contain_text("And you?")
    expect(draft).to_have_count(0)
