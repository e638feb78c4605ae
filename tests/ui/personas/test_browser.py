"""Personas in a real browser: made by typing and clicking, answered by the real model, and passed on as files."""

import io
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from menny.config.paths import PROJECT
from menny.personas.cards import card_of
from menny.personas.imports import read_import
from tests.personas import card_files as cards
from tests.ui.browsing import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PROMPT = "You are Basil, a gardener. You answer in one short sentence."


def field(page: Page, label: str, text: str) -> None:
    """Fill a field and leave it."""
    page.get_by_label(label, exact=True).fill(text)
    page.get_by_label(label, exact=True).press("Tab")


def test_a_persona_made_in_the_page_answers_in_character(browser: Browser, menny: str, home: Path) -> None:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), menny)
        page = visitor.page
        page.get_by_role("link", name="Personas").click()
        page.get_by_role("button", name="New persona").click()
        field(page, "Name", "Basil")
        field(page, "Character description", PROMPT.replace("Basil", "{{char}}"))
        preview = page.locator(".st-key-persona-preview")
        expect(preview).to_contain_text("Always assist with care")
        expect(preview).to_contain_text(PROMPT)
        expect(preview).to_contain_text("tokens in every prompt, counted by SmolLM2")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Talk to Basil now").click()
        expect(visitor.box).to_have_attribute("placeholder", "Message Basil")
        page.get_by_role("button", name="Mistral", exact=True).click()
        expect(page.get_by_test_id("stPopoverBody")).to_contain_text(PROMPT)
        page.keyboard.press("Escape")
        visitor.open_settings()
        visitor.move("Temperature", "Home")
        visitor.say("Who are you?")
        assert "I am Basil, a gardener" in visitor.wait_for_reply()
    file = yaml.safe_load((home / "menny" / "personas" / "basil.yaml").read_text())
    schema = json.loads((PROJECT / "configs" / "schemas" / "persona.json").read_text())
    Draft202012Validator(schema).validate(file)


def test_a_card_goes_in_and_out_through_the_page_on_a_phone(browser: Browser, menny: str, tmp_path: Path) -> None:
    card = tmp_path / "seraphina.png"
    card.write_bytes(cards.as_png({"ccv3": cards.packed(cards.V3)}))
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{menny}/personas")
        page.get_by_role("button", name="Import").click()
        page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(card)
        expect(page.get_by_text("Imported: Seraphina.")).to_be_in_viewport()  # where the import was started
        page.get_by_text("Physics, told as a bedtime story").scroll_into_view_if_needed()
        expect(page.get_by_role("button", name="Import")).not_to_be_in_viewport()
        expect(page.get_by_text("Imported: Seraphina.")).to_be_in_viewport()
        expect(page.get_by_role("button", name="Undo")).to_be_in_viewport()
        page.locator(".st-key-persona-seraphina").get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Export").or_(page.get_by_role("option", name="Export")).first.click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Card as PNG").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        data = Path(download.value.path()).read_bytes()
    again = read_import("again.png", data)
    assert again.lorebook
    assert card_of(again.persona, 3, [again.lorebook]) == cards.V3
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width == picture.height


def test_what_a_card_writes_is_shown_as_text_and_loads_nothing(browser: Browser, menny: str, tmp_path: Path) -> None:
    hostile = '<img src="http://127.0.0.1:9/x.png"> ![x](http://127.0.0.1:9/y.png) :red[no] $5 and $10'
    data = {**cards.V2["data"], "name": "*Mallory*", "creator_notes": hostile[:80], "description": hostile}
    card = tmp_path / "mallory.json"
    card.write_bytes(cards.as_json({**cards.V2, "data": {**data, "extensions": {"note": hostile}}}))
    asked: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{menny}/personas")
        page.get_by_role("button", name="Import").click()
        page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(card)
        mallory = page.locator(".st-key-persona-mallory")
        expect(mallory).to_contain_text("*Mallory*")
        expect(mallory).to_contain_text('<img src="http://127.0.0.1:9/x.png">')
        mallory.get_by_role("button", name="Edit").click()
        expect(page.locator(".st-key-persona-preview")).to_contain_text(hostile)
        page.get_by_text("Kept for other programs").click()
        expect(page.get_by_text("Always assist with care").first).to_be_visible()
    assert not [url for url in asked if ":9/" in url]
