"""Lorebooks in a real browser: one comes with a card, is tried while a text is typed, and tells why it was there."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.personas import card_files as cards
from tests.ui.browsing import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_cards_lorebook_is_tried_called_up_and_tells_why(browser: Browser, staged: str, tmp_path: Path) -> None:
    card = tmp_path / "seraphina.png"
    card.write_bytes(cards.as_png({"chara": cards.packed(cards.V2)}))
    with browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark") as context:
        visitor = Visitor(context.new_page(), staged)
        page = visitor.page
        page.goto(f"{staged}/personas")
        page.get_by_role("button", name="Import").click()
        page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(card)
        expect(page.get_by_text("Imported: Seraphina.")).to_be_visible()
        page.get_by_role("tab", name="Lorebooks").click()
        page.get_by_role("button", name="Open", exact=True).click()
        page.locator(".st-key-lore_trial textarea").press_sequentially("the moss")
        expect(page.get_by_text("1 entry", exact=True)).to_be_visible()
        page.get_by_role("button", name="All lorebooks").click()
        page.get_by_role("tab", name="Personas").click()
        page.get_by_role("button", name="Chat with Seraphina").click()
        expect(visitor.box).to_have_attribute("placeholder", "Message Seraphina")
        expect(page.get_by_text("You are safe here")).to_be_visible()
        visitor.say("Is that moss?")
        page.get_by_role("button", name="1 lore entry").click()
        expect(page.get_by_test_id("stPopoverBody")).to_contain_text("Key “moss” · Glade")
        expect(page.get_by_test_id("stPopoverBody")).to_contain_text("The moss glows.")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
