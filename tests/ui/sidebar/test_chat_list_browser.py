"""A day with one's chats in a real browser: changing, finding, stopping, reloading, and two tabs on one of them."""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.ui.browsing import Visitor, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def staged(browser: Browser, home: Path) -> Iterator[str]:
    """The page over an engine that says some words and "The end.", or goes on until it is told that it's enough."""
    with serve("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="5") as address:
        yield address


@pytest.fixture
def visitor(context: BrowserContext, staged: str) -> Iterator[Visitor]:
    with closing(context.new_page()) as page:
        yield Visitor(page, staged)


@pytest.fixture
def bell(home: Path) -> Iterator[Path]:
    """A file: replies to "… until {bell.name}" grow until it is made."""
    file = home / "menny" / secrets.token_hex(4)
    yield file
    file.touch()


def use(message: Locator, button: str) -> None:
    message.get_by_role("button", name=button).click()


def row(page: Page, title: str) -> Locator:
    return page.locator("[class*='st-key-chat-row-']").filter(has_text=title)


def choose_in_menu(page: Page, title: str, what: str) -> None:
    row(page, title).get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name=what).or_(page.get_by_role("option", name=what)).first.click()


def test_an_edited_message_and_a_regenerated_reply_are_versions_that_arrows_step_through(visitor: Visitor) -> None:
    visitor.say("first")
    visitor.wait_for_reply()
    question, reply = visitor.messages.nth(0), visitor.messages.nth(1)
    use(question, "Edit the message")
    visitor.page.get_by_role("textbox", name="Edit the message").fill("second")
    visitor.page.get_by_role("button", name="Send", exact=True).click()
    expect(reply).to_contain_text("You said second.")
    visitor.wait_for_reply()
    expect(question).to_contain_text("2/2")
    use(question, "Previous version")
    expect(reply).to_contain_text("You said first.")
    expect(question).to_contain_text("1/2")
    use(question, "Next version")
    expect(reply).to_contain_text("You said second.")
    use(reply, "Regenerate the reply")
    expect(reply).to_contain_text("2/2")
    use(reply, "Regenerate with another")
    visitor.page.get_by_role("menuitem", name="Nora").click()
    expect(reply).to_contain_text("3/3")
    expect(reply.get_by_role("group", name="Chat message from Nora")).to_be_visible()
    use(reply, "Previous version")
    expect(reply).to_contain_text("2/3")
    expect(reply.get_by_role("group", name="Chat message from Menny")).to_be_visible()


def test_a_stopped_reply_is_continued(visitor: Visitor, bell: Path) -> None:
    visitor.say(f"hello until {bell.name}")
    reply = visitor.messages.nth(1)
    expect(reply).to_contain_text("word3 ")
    visitor.stop_button.click()
    expect(reply).to_contain_text("stopped")
    said = reply.get_by_text("You said").inner_text().strip()
    bell.touch()
    visitor.page.get_by_role("button", name="Continue", exact=True).click()
    expect(reply).to_contain_text(f"{said} You said hello until {bell.name}. The end.")
    expect(visitor.page.get_by_role("button", name="Continue", exact=True)).to_have_count(0)


def test_a_reply_goes_on_through_a_reload_and_is_kept(visitor: Visitor, bell: Path) -> None:
    visitor.say(f"hello until {bell.name}")
    expect(visitor.messages.nth(1)).to_contain_text("word1 ")
    visitor.page.reload()
    expect(visitor.messages.nth(1)).to_contain_text("word1 ")
    expect(visitor.page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    bell.touch()
    reply = visitor.wait_for_reply()
    assert "The end." in reply
    assert "stopped" not in reply


def test_a_closed_tab_leaves_a_whole_reply_and_its_address_leads_back(
    context: BrowserContext, staged: str, bell: Path
) -> None:
    with closing(context.new_page()) as page:
        visitor = Visitor(page, staged)
        visitor.say(f"hello until {bell.name}")
        expect(visitor.messages.nth(1)).to_contain_text("word1 ")
        assert "?chat=" in page.url
    bell.touch()
    with closing(context.new_page()) as back:
        reply = Visitor(back, page.url).wait_for_reply()
    assert "The end." in reply
    assert "stopped" not in reply


def test_two_tabs_on_one_chat_see_the_same_and_either_stops_a_reply(
    visitor: Visitor, context: BrowserContext, bell: Path
) -> None:
    visitor.say("one")
    visitor.wait_for_reply()
    with closing(context.new_page()) as page:
        other = Visitor(page, visitor.page.url)
        expect(other.messages).to_have_count(2)
        visitor.say(f"two until {bell.name}")
        for tab in (visitor, other):
            expect(tab.messages.nth(3)).to_contain_text("word1 ")
        bell.touch()
        for tab in (other, visitor):
            assert "The end." in tab.wait_for_reply(2)
        other.say(f"three until {bell.name} again")
        expect(visitor.messages.nth(5)).to_contain_text("You said three")
        visitor.page.get_by_role("button", name="Stop", exact=True).click()
        for tab in (visitor, other):
            reply = tab.wait_for_reply(3)
            assert "· stopped" in reply


def test_another_chat_can_be_opened_while_a_reply_grows(visitor: Visitor, bell: Path) -> None:
    visitor.say(f"come back until {bell.name}")
    expect(visitor.messages.nth(1)).to_contain_text("word1 ")
    visitor.new_chat()
    expect(visitor.page.get_by_role("button", name="Talk to Menny")).to_be_attached()
    row(visitor.page, "come back").get_by_role("button").first.click()
    expect(visitor.messages.nth(1)).to_contain_text("word1 ")
    choose_in_menu(visitor.page, "come back", "Rename")  # a dialog doesn't wait for the reply either
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Title").fill("renamed meanwhile")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(row(visitor.page, "renamed meanwhile")).to_be_visible()
    bell.touch()
    assert "The end." in visitor.wait_for_reply()


def test_back_and_forward_go_from_chat_to_chat(visitor: Visitor) -> None:
    visitor.say("the earlier one")
    visitor.wait_for_reply()
    earlier = visitor.page.url
    visitor.new_chat()
    visitor.say("the later one")
    visitor.wait_for_reply()
    later = visitor.page.url
    while visitor.page.url != earlier:
        visitor.page.go_back()
    expect(visitor.messages.first).to_contain_text("the earlier one")
    while visitor.page.url != later:
        visitor.page.go_forward()
    expect(visitor.messages.first).to_contain_text("the later one")


def test_chats_are_renamed_pinned_found_deleted_and_brought_back(visitor: Visitor) -> None:
    page, search = visitor.page, visitor.page.get_by_role("textbox", name="Search chats")
    visitor.say("turnips <b>and</b> *parsnips*")
    visitor.wait_for_reply()
    choose_in_menu(page, "turnips <b>and</b> *parsnips*", "Rename")
    dialog = page.get_by_role("dialog")
    for title in (" ", "Root <i>vegetables</i>"):
        dialog.get_by_role("textbox", name="Title").fill(title)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_text("A chat needs a title")).to_have_count(int(title == " "))
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row(page, "Root <i>vegetables</i>")).to_be_visible()
    choose_in_menu(page, "Root", "Pin")
    expect(page.locator(".st-key-chats").get_by_text("Pinned")).to_be_visible()
    search.fill("parsn")
    search.press("Enter")
    hit = page.locator("[class*='st-key-hit-']")
    expect(hit).to_contain_text("turnips <b>and</b> *parsnips*")
    expect(hit.locator(".stMarkdownColoredBackground")).to_have_text("parsnips")
    search.fill("")
    search.press("Enter")
    choose_in_menu(page, "Root", "Delete")
    expect(row(page, "Root")).to_have_count(0)
    expect(visitor.messages.filter(has_text="turnips")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(visitor.messages.first).to_contain_text("turnips")
    expect(row(page, "Root")).to_be_visible()
    expect(page.locator(".st-key-chats").get_by_text("Pinned")).to_be_visible()


def test_what_follows_a_message_is_deleted_and_brought_back(visitor: Visitor) -> None:
    visitor.say("stays")
    visitor.wait_for_reply()
    visitor.say("goes")
    visitor.wait_for_reply(2)
    use(visitor.messages.nth(2), "Delete from here")
    expect(visitor.messages).to_have_count(2)
    visitor.page.get_by_role("button", name="Undo").click()
    expect(visitor.messages).to_have_count(4)


def test_a_chat_that_was_saved_and_lost_is_imported_equal(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    visitor.say("a chat to save")
    visitor.wait_for_reply()
    use(visitor.messages.nth(1), "Regenerate the reply")
    expect(visitor.messages.nth(1)).to_contain_text("2/2")
    page.reload()  # what is drawn first is whole: nothing of the first reply stands there any more
    for text in ("2/2", "first after"):
        expect(visitor.messages.nth(1)).to_contain_text(text)
    said = [message.inner_text() for message in visitor.messages.all()]
    saved = save(page, "a chat to save", tmp_path)
    assert saved["Markdown"].name == "a-chat-to-save.md"
    assert "## You\n\na chat to save\n\n## Menny\n\nYou said a chat to save." in saved["Markdown"].read_text()
    choose_in_menu(page, "a chat to save", "Delete")
    expect(row(page, "a chat to save")).to_have_count(0)
    page.get_by_text("Import, archive and bin").click()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(saved["JSON"])
    expect(page.get_by_text("1 chat read")).to_be_visible()
    expect(visitor.messages).to_have_count(2)
    expect(visitor.messages).to_have_text(said, use_inner_text=True)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save everything").click()
    archive = tmp_path / download.value.suggested_filename
    download.value.save_as(archive)
    again = save(page, "a chat to save", tmp_path / "again")["JSON"]
    assert kept(again) == kept(saved["JSON"])
    choose_in_menu(page, "a chat to save", "Delete")
    expect(row(page, "a chat to save")).to_have_count(0)
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(archive)
    row(page, "a chat to save").get_by_role("button").first.click()
    expect(visitor.messages).to_have_count(2)
    assert kept(save(page, "a chat to save", tmp_path / "last")["JSON"]) == kept(saved["JSON"])
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({**json.loads(again.read_text()), "messages": "none"}))
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(broken)
    expect(page.get_by_text("Nothing was imported")).to_be_visible()


def save(page: Page, title: str, folder: Path) -> dict[str, Path]:
    """Export a chat as both kinds of file."""
    choose_in_menu(page, title, "Export")
    saved = {}
    for kind in ("Markdown", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("dialog").get_by_role("button", name=kind).click()
        saved[kind] = folder / download.value.suggested_filename
        download.value.save_as(saved[kind])
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    return saved


def kept(file: Path) -> dict[str, object]:
    return {key: value for key, value in json.loads(file.read_text()).items() if key != "updated"}


def test_keys_start_search_stop_and_regenerate(visitor: Visitor, bell: Path) -> None:
    page = visitor.page
    visitor.say(f"by keys until {bell.name}")
    reply = visitor.messages.nth(1)
    expect(reply).to_contain_text("word1 ")
    page.keyboard.press("Escape")
    visitor.wait_for_reply()
    expect(reply).to_contain_text("stopped")
    expect(visitor.stop_button).to_have_count(0)
    page.keyboard.press("Control+Shift+Enter")
    expect(reply).not_to_contain_text("stopped")  # what grows there is the new reply
    expect(reply).to_contain_text("word1 ")
    expect(visitor.stop_button).to_be_visible()
    page.keyboard.press("Escape")
    expect(reply).to_contain_text("2/2")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("textbox", name="Search chats")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("button", name="Talk to Menny")).to_be_attached()


def test_an_address_that_leads_nowhere_says_so(visitor: Visitor, staged: str) -> None:
    visitor.page.goto(f"{staged}/?chat=AAAAAAAAAAAAAAAAAAAAAA")
    expect(visitor.page.get_by_text("There is no such chat")).to_be_visible()
    visitor.say("hello")
    visitor.wait_for_reply()


def test_everything_is_reached_on_a_phone(browser: Browser, staged: str) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True) as context:
        visitor = Visitor(context.new_page(), staged)
        visitor.say("on a phone, with a rather long first message to make a title of")
        visitor.wait_for_reply()
        use(visitor.messages.nth(1), "Regenerate the reply")
        expect(visitor.messages.nth(1)).to_contain_text("2/2")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
        sidebar, more = visitor.page.get_by_test_id("stSidebar"), visitor.page.get_by_test_id("stExpandSidebarButton")
        more.click()
        use(row(visitor.page, "on a phone"), "More for")
        expect(visitor.page.get_by_text("Pin", exact=True)).to_be_visible()
        visitor.page.keyboard.press("Escape")
        visitor.new_chat()
        expect(sidebar).to_have_attribute("data-collapsed", "true")
        expect(visitor.page.get_by_role("button", name="Talk to Menny")).to_be_attached()
        more.click()
        row(visitor.page, "on a phone").get_by_role("button").first.click()
        expect(sidebar).to_have_attribute("data-collapsed", "true")
        expect(visitor.messages.first).to_contain_text("on a phone")
        visitor.page.keyboard.press("Control+k")
        expect(visitor.page.get_by_role("textbox", name="Search chats")).to_be_focused()
        expect(sidebar).to_have_attribute("data-collapsed", "false")
        visitor.page.get_by_role("link", name="Personas").click()
        expect(visitor.page.get_by_role("heading", name="Personas")).to_be_visible()
        expect(sidebar).to_have_attribute("data-collapsed", "true")
