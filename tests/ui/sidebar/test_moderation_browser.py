"""Moderation in a real browser: every cell once more, and the shield, at a phone's width too."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from menny.storage import ChatStore
from tests.ui.browsing import Visitor
from tests.ui.moderated import NAMES, ROUNDS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIDES = {"messages": "Your messages", "replies": "Replies"}


@pytest.fixture
def watched(context: BrowserContext, staged: str) -> Iterator[Visitor]:
    with closing(context.new_page()) as page:
        yield Visitor(page, staged)


def boxes(visitor: Visitor, side: str) -> Locator:
    return visitor.page.get_by_role("combobox", name=SIDES[side])


def choose(visitor: Visitor, place: int, side: str, action: str) -> None:
    """Set what becomes of a category: the `place`-th of them."""
    box = boxes(visitor, side).nth(place)
    if box.input_value() != action.capitalize():
        visitor.pick(box, action.capitalize())
        expect(box).to_have_value(action.capitalize())


def kept(home: Path) -> str:
    """All that the store has of the chats that are there."""
    store = ChatStore(home / "menny" / "chats.db")
    said = [entry.text for one in store.conversations() for entry in store.transcript(one.id).entries]
    store.close()
    return "\n".join(said)


def last(visitor: Visitor) -> Locator:
    return visitor.messages.last


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_every_cell(watched: Visitor, home: Path, number: int) -> None:
    actions = ROUNDS[number]
    watched.open_settings()
    watched.page.get_by_text("Moderation", exact=True).click()
    for place, action in enumerate(actions.values()):
        for side in SIDES:
            choose(watched, place, side, action)
    expect(watched.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    for place, action in enumerate(actions.values()):  # the fold stays open, though its icon has changed
        for side in SIDES:
            expect(boxes(watched, side).nth(place)).to_have_value(action.capitalize())
    for category, action in actions.items():
        _send_a_message(watched, home, f"message {number} [{category}]", NAMES[category], action)
    for category, action in actions.items():
        _ask_for_a_reply(watched, home, category, NAMES[category], action)


def _send_a_message(visitor: Visitor, home: Path, text: str, name: str, action: str) -> None:
    page, notice = visitor.page, visitor.page.get_by_text("This message wasn't sent")
    visitor.say(text)
    if action == "block":
        expect(notice).to_contain_text(f"to the model it looks like “{name}”")
        expect(page.get_by_label("Edit the unsent message")).to_have_value(text)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Remove the unsent message").first.click()
        assert text not in kept(home)
        return
    question = page.locator("[class*=st-key-user-]").filter(has_text=text)
    expect(question).to_be_visible()
    expect(last(visitor)).to_contain_text("A kind word.")
    expect(visitor.box).to_be_enabled()
    expect(notice).to_have_count(0)
    expect(question.get_by_text("Sent with a warning")).to_have_count(int(action == "warn"))
    assert text in kept(home)


def _ask_for_a_reply(visitor: Visitor, home: Path, category: str, name: str, action: str) -> None:
    bad = f"A nasty word, [{category}]."
    visitor.say(f"say {category}")
    before = kept(home).count(bad)
    if action == "block":
        notice = last(visitor).get_by_text("This reply was withheld")
        expect(notice).to_contain_text(f"it looks like “{name}”")
        expect(last(visitor)).not_to_contain_text(bad)
        assert kept(home).count(bad) == before
    elif action == "warn":
        fold = last(visitor).get_by_text("Folded away")
        expect(fold).to_contain_text(name)
        expect(last(visitor).get_by_text(bad)).to_be_hidden()
        fold.click()
        expect(last(visitor).get_by_text(bad)).to_be_visible()
        assert bad in kept(home)
    else:
        expect(last(visitor).get_by_text(bad)).to_be_visible()
        expect(last(visitor).get_by_text("Folded away")).to_have_count(0)
    expect(visitor.box).to_be_enabled()


def test_the_shield_opens_to_the_exact_text_also_on_a_phone(browser: Browser, staged: str) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        visitor = Visitor(context.new_page(), staged)
        visitor.page.get_by_role("button", name="Mistral", exact=True).click()
        shown = visitor.page.get_by_test_id("stPopoverBody")
        expect(shown.get_by_test_id("stCode").first).to_contain_text("Always assist with care, respect, and truth.")
        expect(shown).to_contain_text("Mistral 7B, section 5")
        box = shown.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
