"""A thought on the page: open while it grows, folded above its answer, and the same after a reload."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.ui.browsing import Visitor, serve
from tests.ui.sidebar.test_chat_list_browser import choose_in_menu

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def staged(browser: Browser, home: Path) -> Iterator[str]:
    """The page over an engine with room for a thought that grows until somebody stops it."""
    with serve("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="60", MENNY_TEST_CONTEXT="100000") as address:
        yield address


@pytest.fixture(scope="module")
def visitor(browser: Browser, staged: str) -> Iterator[Visitor]:
    """One visitor, light on a desktop first; each test begins a chat of its own."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        yield Visitor(context.new_page(), staged)


def new_chat(visitor: Visitor) -> None:
    visitor.new_chat()
    expect(visitor.page.get_by_role("button", name="Talk to Nora")).to_be_visible()
    expect(visitor.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def text_of_thought(visitor: Visitor, number: int) -> Locator:
    return visitor.page.get_by_test_id("stExpanderDetails").get_by_text(f"Step {number}: is")


def test_a_thought_grows_in_sight_and_folds_when_the_user_wants_the_answer(visitor: Visitor) -> None:
    page = visitor.page
    visitor.say("think until never")
    expect(text_of_thought(visitor, 20)).to_be_visible()
    expect(page.get_by_text("Thinking …")).to_be_visible()
    expect(page.get_by_text("Thinking for")).to_be_visible()  # with its tokens, below
    page.get_by_role("button", name="Answer now").click()
    expect(page.get_by_text("Thought for")).to_be_visible()
    expect(page.get_by_role("button", name="Answer now")).to_have_count(0)
    said = visitor.wait_for_reply()
    assert "The answer is forty-two." in said
    expect(text_of_thought(visitor, 5)).to_be_hidden()
    title = page.get_by_text("Thought for").inner_text()
    page.reload()
    expect(page.get_by_text(title)).to_be_visible()
    expect(text_of_thought(visitor, 5)).to_be_hidden()
    page.get_by_text(title).click()
    expect(text_of_thought(visitor, 5)).to_be_visible()


def test_a_thought_opened_in_mid_answer_stays_open_and_a_regenerated_reply_has_its_own(
    visitor: Visitor, home: Path
) -> None:
    page = visitor.page
    new_chat(visitor)
    visitor.say("think, then answer until opened")
    expect(page.get_by_text("word2 ")).to_be_visible()
    page.get_by_text("Thought for").click()
    expect(text_of_thought(visitor, 3)).to_be_visible()
    (home / "menny" / "opened").touch()
    visitor.wait_for_reply()
    expect(text_of_thought(visitor, 3)).to_be_visible()
    page.get_by_role("button", name="Regenerate the reply").click()
    expect(page.get_by_text("Thinking …")).to_be_visible()
    expect(page.get_by_text("word2 ")).to_be_visible()
    expect(page.get_by_text("Thought for")).to_have_count(1)  # the other version's isn't shown
    assert "forty-two" in visitor.wait_for_reply()
    expect(visitor.messages.last).to_contain_text("2/2")
    expect(text_of_thought(visitor, 3)).to_be_hidden()


def test_a_stopped_thought_goes_on_and_is_exported(visitor: Visitor, home: Path) -> None:
    page = visitor.page
    new_chat(visitor)
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    visitor.say("think until enough")
    expect(text_of_thought(visitor, 12)).to_be_visible()
    visitor.stop_button.click()
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    expect(page.get_by_text("stopped")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Continue").click()
    expect(text_of_thought(visitor, 30)).to_be_visible()
    (home / "menny" / "enough").touch()
    assert "forty-two" in visitor.wait_for_reply()
    page.set_viewport_size({"width": 1280, "height": 800})
    choose_in_menu(page, "think until enough", "Export")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON, with all its versions").click()
    reply = json.loads(Path(download.value.path()).read_text())["messages"][-1]
    assert reply["thought"].count("Step 12:") == 1
    assert reply["thought"].index("Step 12:") < reply["thought"].index("Step 30:")
    assert "Step" not in reply["text"]
    assert reply["figures"]["thought_tokens"] > 30
