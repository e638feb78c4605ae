"""Arabic and Hebrew are set from the right, each block by its own first letter, and all else stays as it is."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from tests.ui.browsing import Visitor, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LAYLA = """
name: ليلى
tagline: معلمة صبورة تحب الأسئلة (Python)
greeting: مرحبا! كيف أساعدك؟
suggestions: [ما هي عاصمة فرنسا؟]
order: 1
system_prompt: You are Layla.
"""
LONG = "שאלה ארוכה מאוד על מחשבים ועל שפות תכנות, שלא נכנסת לשורה אחת ברשימה"

# Where the first and the last letter of an element's text stand, in pixels; and the element's own sides.
PLACES = """element => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT)
  const nodes = []
  while (walker.nextNode()) if (walker.currentNode.data.trim()) nodes.push(walker.currentNode)
  const box = (node, at) => {
    const range = document.createRange()
    range.setStart(node, at)
    range.setEnd(node, at + 1)
    return range.getBoundingClientRect()
  }
  const last = nodes.at(-1), outer = element.getBoundingClientRect()
  return { first: box(nodes[0], 0).left, last: box(last, last.data.trimEnd().length - 1).left,
    left: outer.left, right: outer.right, start: box(nodes[0], 0).right }
}"""


@pytest.fixture(scope="module")
def staged(browser: Browser, home: Path) -> Iterator[str]:
    (home / "menny" / "personas").mkdir(parents=True)
    (home / "menny" / "personas" / "layla.yaml").write_text(LAYLA, encoding="utf-8")
    with serve("tests/ui/app_with_fake_engine.py", home) as address:
        yield address


@pytest.fixture
def visitor(context: BrowserContext, staged: str) -> Iterator[Visitor]:
    with closing(context.new_page()) as page:
        yield Visitor(page, staged)


def is_from_the_right(block: Locator) -> bool:
    """Whether a block's text begins at its right side."""
    expect(block).to_be_visible()
    places = block.evaluate(PLACES)
    starts_right = abs(places["right"] - places["start"]) < abs(places["first"] - places["left"])
    assert starts_right == (places["first"] > places["last"]), places
    return bool(starts_right)


def test_messages_are_set_by_their_own_direction(visitor: Visitor) -> None:
    visitor.say("שלום (GPU)!")
    visitor.wait_for_reply()
    assert is_from_the_right(visitor.messages.first.get_by_test_id("stText").last)
    visitor.say("show right to left (API)")
    visitor.wait_for_reply(2)
    assert not is_from_the_right(visitor.messages.nth(2).get_by_test_id("stText").last)
    reply = visitor.messages.nth(3)
    for what in ("h1", "p:has-text('שלום')", "blockquote p", "td:has-text('תא')", "li:has-text('ראשון')"):
        assert is_from_the_right(reply.locator(what).first), what
    assert not is_from_the_right(reply.locator("p:has-text('English')"))
    assert not is_from_the_right(reply.locator("pre code"))
    code = reply.locator("p code").evaluate(PLACES)
    assert code["first"] < code["last"]
    marks = reply.locator("ol").evaluate("list => getComputedStyle(list).direction")
    assert marks == "rtl"  # the numbers stand on the right


def test_the_box_and_an_edited_message_follow_what_is_typed(visitor: Visitor) -> None:
    direction = "field => [getComputedStyle(field).direction, getComputedStyle(field).textAlign]"
    for text, expected in (("مرحبا world", "rtl"), ("hello مرحبا", "ltr"), ("123 שלום", "rtl")):
        visitor.box.fill(text)
        assert visitor.box.evaluate(direction) == [expected, "start"]
    visitor.say("שלום")
    visitor.wait_for_reply()
    visitor.page.get_by_role("button", name="Edit the message").click()
    edited = visitor.page.get_by_role("textbox", name="Edit the message")
    expect(edited).to_be_focused()
    assert edited.evaluate(direction) == ["rtl", "start"]


def test_titles_and_cards_are_set_by_their_own_direction(visitor: Visitor) -> None:
    page = visitor.page
    card = page.locator("[class*=st-key-card-]:has-text('ليلى')")
    assert is_from_the_right(card.get_by_text("معلمة"))
    assert not is_from_the_right(page.locator("[class*=st-key-card-]:has-text('Penny')").get_by_text("Plain answers"))
    page.get_by_role("button", name="Talk to ليلى").click()
    assert is_from_the_right(visitor.greeting.get_by_text("مرحبا"))
    visitor.say(LONG)
    visitor.wait_for_reply()
    title = page.locator("[class*=st-key-open-] .stMarkdownEllipsis").first
    expect(title).to_have_attribute("dir", "auto")
    places = title.evaluate(PLACES)
    assert places["left"] <= places["first"] < places["right"]  # the title's beginning is in sight, its end cut off
    assert places["last"] < places["left"]
    page.get_by_role("link", name="Personas").click()
    assert is_from_the_right(page.locator("[class*=st-key-persona-layla]").get_by_text("معلمة"))
