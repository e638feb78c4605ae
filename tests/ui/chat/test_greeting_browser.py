"""A greeting as the first message, and the user's name, as a person in a browser meets them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.ui.browsing import Visitor, serve
from tests.ui.sidebar.test_chat_list_browser import choose_in_menu

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MIRA = """
name: Mira
system_prompt: You are Mira.
greeting: Come in, {{user}}.
extensions:
  card:
    name: Mira
    description: A cook
    first_mes: Come in, {{user}}.
    alternate_greetings: ["{{char}} looks up.", "", "Who is it?"]
"""


@pytest.fixture(scope="module")
def staged(browser: Browser, home: Path) -> Iterator[str]:
    (home / "menny" / "personas").mkdir(parents=True)
    (home / "menny" / "personas" / "mira.yaml").write_text(MIRA)
    with serve("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="5") as address:
        yield address


def use(message: Locator, button: str) -> None:
    message.get_by_role("button", name=button).click()


def lose_and_import(page: Page) -> None:
    """Export the open chat, delete it, and import it again."""
    choose_in_menu(page, "hello", "Export")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON, with all its versions").click()
    saved = str(download.value.path())
    page.keyboard.press("Escape")
    choose_in_menu(page, "hello", "Delete")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.get_by_text("Import, archive and bin").click()
    file = {"name": "hello.json", "mimeType": "application/json", "buffer": Path(saved).read_bytes()}
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files=[file])
    expect(page.get_by_text("1 chat read")).to_be_visible()


def test_a_greeting_that_a_card_brought_is_chosen_answered_and_kept(browser: Browser, staged: str) -> None:
    page = browser.new_page()
    visitor = Visitor(page, staged)
    page.get_by_placeholder("What should Menny call you?").fill("Ada")
    page.get_by_placeholder("What should Menny call you?").press("Enter")
    expect(page.get_by_placeholder("What should Menny call you?")).to_have_count(0)
    page.get_by_role("button", name="Talk to Mira").click()
    greeting = visitor.greeting
    expect(greeting).to_contain_text("Come in, Ada.")
    expect(greeting).to_contain_text("1/3")
    use(greeting, "Next version")
    expect(greeting).to_contain_text("Mira looks up.")
    visitor.say("hello")
    visitor.wait_for_reply()
    expect(greeting).to_contain_text("2/3")
    page.reload()
    expect(greeting).to_contain_text("Mira looks up.")
    page.get_by_role("button", name="Mistral").click()  # what the model is told
    expect(page.get_by_text("The user's name is Ada.")).to_be_visible()
    page.keyboard.press("Escape")
    use(greeting, "Previous version")  # which nobody has answered
    expect(greeting).to_contain_text("Come in, Ada.")
    expect(visitor.messages).to_have_count(0)
    use(greeting, "Next version")
    expect(visitor.messages).to_have_count(2)
    page.get_by_role("button", name="What the model got").click()
    expect(page.get_by_role("dialog").locator("pre")).to_contain_text("Mira looks up.")
    page.keyboard.press("Escape")
    lose_and_import(page)
    expect(greeting).to_contain_text("Mira looks up.")
    expect(greeting).to_contain_text("2/3")
    use(visitor.messages.nth(1), "New chat from here")
    expect(page.get_by_role("button", name="Copied from “hello”")).to_be_visible()
    expect(greeting).to_contain_text("2/3")
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("button", name="Edit profile").click()
    page.get_by_role("textbox", name="About you").fill("{{user}} sails.")
    page.get_by_role("textbox", name="Name").press("Tab")
    use(page.get_by_role("dialog"), "Save")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Mistral").click()
    expect(page.get_by_text("The user's name is Ada. Ada sails.")).to_be_visible()
    page.close()
