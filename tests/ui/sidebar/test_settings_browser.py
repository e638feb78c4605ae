"""What a person sets is there again: after a reload, in a second tab, and after the server was killed."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from menny.storage import ChatStore
from tests.ui.browsing import Visitor, serve, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENTRY = "tests/ui/app_with_fake_engine.py"
CHOSEN = {
    "Persona": "Nora",
    "Thinking": "On",
    "Memory": "Last turns",
    "Guardrail": "Llama 2",
    "Delete old chats": "After 30 days",
}
WITHIN = 2500  # milliseconds in which a change from elsewhere has to be seen


@pytest.fixture(scope="module")
def staged(browser: Browser, home: Path) -> Iterator[str]:
    far = "models: [{id: far, name: Far, server: 'http://far.example:8000/v1'}]\n"
    (home / "menny").mkdir()
    (home / "menny" / "models.yaml").write_text(far)
    with serve(ENTRY, home, MENNY_TEST_WORDS="3") as address:
        yield address


def typed(page: Page, name: str, value: str) -> None:
    field = page.get_by_role("spinbutton", name=f"{name}, typed")
    field.fill(value)
    field.press("Enter")
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def expect_settings(page: Page) -> None:
    page.get_by_role("tab", name="Settings").click()
    expect(page.get_by_role("spinbutton", name="Temperature, typed")).to_have_value("0.25")
    expect(page.get_by_role("spinbutton", name="Max tokens, typed")).to_have_value("5000")
    for label, option in CHOSEN.items():
        expect(page.get_by_role("combobox", name=label)).to_have_value(option)
    expect(page.get_by_role("switch", name="Let the model title chats")).not_to_be_checked()
    expect(page.get_by_role("combobox", name="Theme")).to_have_value("Dark")
    expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", "dark")


def test_each_setting_is_as_it_was_and_moderation_blocks_after_a_kill(browser: Browser, tmp_path: Path) -> None:
    with browser.new_context() as context:
        with serving(ENTRY, tmp_path, MENNY_TEST_WORDS="3") as server:
            first = Visitor(context.new_page(), server.address)
            page = first.page
            first.say("hello")
            first.wait_for_reply()
            for label, option in CHOSEN.items():
                first.choose(label, option)
                expect(page.get_by_role("combobox", name=label)).to_have_value(option)
            page.get_by_text("Let the model title chats").click()
            typed(page, "Temperature", "0.25")
            typed(page, "Max tokens", "5000")
            page.get_by_text("Moderation", exact=True).click()
            box = page.get_by_role("combobox", name="Your messages").nth(1)
            first.pick(box, "Block")
            expect(box).to_have_value("Block")
            first.box.fill("not sent yet")
            first.choose("Theme", "Dark")  # which loads the page again
            expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", "dark")
            expect(first.box).to_have_value("not sent yet")
            expect(page.get_by_role("combobox", name="Theme")).to_be_visible()
            first.box.fill("")
            chat = page.url
            page.reload()
            expect_settings(page)
            second = context.new_page()
            second.goto(chat)
            expect_settings(second)
            server.end(signal.SIGKILL)
            expect(page.get_by_role("heading", name="Menny isn't running")).to_be_visible()
        with serve(ENTRY, tmp_path, MENNY_TEST_WORDS="3") as address:
            later = Visitor(context.new_page(), f"{address}/?{chat.split('?')[1]}")
            expect_settings(later.page)
            later.say("[hateful]")
            expect(later.page.get_by_text("This message wasn't sent")).to_be_visible()
            later.new_chat()
            expect(later.page.get_by_role("spinbutton", name="Temperature, typed")).not_to_have_value("0.25")
            later.page.get_by_role("button", name="Temporary chat").click()
            later.choose("Theme", "Light")
            later.page.wait_for_timeout(1000)
            expect(later.page.get_by_text("Temporary chat. It isn't saved")).to_be_visible()
            later.new_chat()
            expect(later.page.get_by_test_id("stApp")).to_have_css("color-scheme", "light")


def test_a_page_at_rest_exchanges_nothing_and_sees_what_another_tab_does(browser: Browser, staged: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        frames: list[object] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
        here = Visitor(page, staged)
        expect(here.box).to_be_focused()
        page.keyboard.type("hello")
        page.keyboard.press("Enter")
        here.wait_for_reply()
        there = Visitor(context.new_page(), page.url)
        there.wait_for_reply()
        page.bring_to_front()
        page.wait_for_timeout(3000)  # the tab that was opened last is noticed
        frames.clear()
        page.wait_for_timeout(3000)
        assert frames == []
        there.open_settings()
        typed(there.page, "Temperature", "1.50")
        here.open_settings()
        expect(page.get_by_role("spinbutton", name="Temperature, typed")).to_have_value("1.50", timeout=WITHIN)
        page.get_by_role("tab", name="Chats").click()
        here.new_chat()
        expect(here.box).to_be_focused()


def test_where_messages_go_is_said_at_the_box_in_the_list_and_at_the_reply(browser: Browser, staged: str) -> None:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), staged)
        page = visitor.page
        expect(page.get_by_text("stay on this machine")).to_be_visible()
        visitor.choose("Model", "Far")
        expect(page.get_by_text("is sent to far.example:8000")).to_be_visible()
        below = page.get_by_test_id("stCaptionContainer").filter(has=page.get_by_role("img", name="cloud icon"))
        expect(below).to_contain_text("Sent to far.example:8000")
        visitor.say("to far")
        visitor.wait_for_reply()
        expect(visitor.messages.nth(1)).to_contain_text("far.example:8000 · Far")
        page.get_by_role("tab", name="Chats").click()
        rows = page.locator("[class*=st-key-chat-row-]")
        expect(rows.get_by_test_id("stIconMaterial").get_by_text("cloud", exact=True).first).to_be_visible()
        visitor.choose("Model", "SmolLM2")


def test_a_chat_is_found_by_its_folder_and_the_bin_gives_it_back(browser: Browser, staged: str, home: Path) -> None:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), staged)
        page = visitor.page
        visitor.say("a chat for a folder")
        visitor.wait_for_reply()

        def act(what: str) -> None:
            page.get_by_role("button", name="More for a chat for a folder").click()
            page.get_by_role("menuitem").filter(has_text=what).click()

        row = page.locator("[class*=st-key-open-]").filter(has_text="a chat for a folder")
        act("Move to folder")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("combobox").fill("Garden")
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Move", exact=True).click()
        expect(dialog).to_have_count(0)
        page.get_by_role("button", name="Filter").click()
        folder = page.get_by_role("combobox", name="Folder")
        visitor.pick(folder, "Garden")
        expect(folder).to_have_value("Garden")
        page.keyboard.press("Escape")
        expect(page.locator("[class*=st-key-chat-row-]")).to_have_count(1)
        act("Delete")
        expect(row).to_have_count(0)
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        page.get_by_text("Import, archive and bin").click()
        page.get_by_role("button", name="Bin").click()
        page.get_by_role("button", name="Restore").first.click()
        expect(row).to_have_count(1)
        page.get_by_role("button", name="Delete everything").click()
        dialog.get_by_role("button", name="Delete everything").click()
        expect(page.locator("[class*=st-key-chat-row-]")).to_have_count(0)
    store = ChatStore(home / "menny" / "chats.db")
    assert store.conversations() == store.deleted_conversations() == []
    store.close()
