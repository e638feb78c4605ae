"""What only a real browser shows: stopping, reloading, two tabs, and what a page may load; some with the real model."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.http_here import http_here
from tests.ui.browsing import Visitor, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Counting(BaseHTTPRequestHandler):
    """A server that isn't Menny's and notes who comes."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@dataclass(frozen=True)
class Elsewhere:
    address: str
    asked: list[str]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    asked: list[str] = []
    with http_here(Counting, asked=asked) as address:
        yield Elsewhere(address, asked)


@pytest.fixture(scope="module")
def staged_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def staged(browser: Browser, elsewhere: Elsewhere, staged_home: Path) -> Iterator[str]:
    """The page over an engine that writes slowly what a test wants, for three at once."""
    page, told = "tests/ui/app_with_fake_engine.py", {"MENNY_TEST_ELSEWHERE": elsewhere.address}
    with serve(page, staged_home, MENNY_TEST_WORDS="60", **told) as address:
        yield address


@pytest.fixture
def visitor(context: BrowserContext, menny: str) -> Iterator[Visitor]:
    with closing(context.new_page()) as page:
        yield Visitor(page, menny)


@pytest.fixture
def watcher(context: BrowserContext, staged: str) -> Iterator[Visitor]:
    with closing(context.new_page()) as page:
        yield Visitor(page, staged)


def test_a_first_message_is_answered_by_the_model_and_a_second_remembers_it(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Talk to Penny").click()
    expect(visitor.box).to_have_attribute("placeholder", "Message Penny")
    visitor.open_settings()
    visitor.move("Temperature", "Home")
    visitor.say("What is the capital of France?")
    first = visitor.wait_for_reply()
    assert "Paris" in first
    assert "tokens/s" in first
    assert "first after" in first
    visitor.say("What is that city famous for?")
    assert "Paris" in visitor.wait_for_reply(2)


def test_a_stopped_reply_stays_and_the_next_is_answered(visitor: Visitor) -> None:
    visitor.say("Tell me a long story about a lighthouse.")
    reply = visitor.messages.nth(1)
    expect(reply).to_contain_text("tokens/s")
    visitor.stop_button.click()
    said = visitor.wait_for_reply()
    assert "stopped" in said
    assert len(said.split("SmolLM2")[0].split()) > 0
    visitor.open_settings()
    visitor.move("Max tokens", "Home")
    visitor.say("Hello?")
    assert "cut at max tokens" in visitor.wait_for_reply(2)
    assert said.startswith(visitor.messages.nth(1).inner_text())  # with a button to go on, while it was the last


def test_a_model_that_is_not_here_says_how_to_get_it_and_keeps_the_chat(visitor: Visitor) -> None:
    visitor.open_settings()
    visitor.move("Max tokens", "Home")
    visitor.say("Say hello.")
    visitor.wait_for_reply()
    visitor.choose("Model", "Ministral 3 3B Instruct, 4-bit")
    expect(visitor.page.get_by_text("python -m menny get ministral-3-3b-4bit")).to_be_visible()
    expect(visitor.box).to_be_disabled()
    expect(visitor.messages.first).to_contain_text("Say hello.")
    visitor.choose("Model", "SmolLM2")
    expect(visitor.box).to_be_enabled()


def test_tabs_stream_side_by_side_and_one_more_waits_for_a_row(
    browser: Browser, staged: str, staged_home: Path
) -> None:
    names = ("one", "two", "three")
    with browser.new_context() as context:
        tabs = {name: Visitor(context.new_page(), staged) for name in names}
        for name, tab in tabs.items():
            tab.say(f"{name} until {name}")
        for tab in tabs.values():  # none of them ends before there is its file
            expect(tab.messages.nth(1)).to_contain_text("word9 ")
        last = Visitor(context.new_page(), staged)
        last.say("four")
        expect(last.messages.nth(1)).to_contain_text("Waiting: 1 request ahead")
        for name, tab in tabs.items():
            (staged_home / "menny" / name).touch()
            reply = tab.wait_for_reply()
            words = re.findall(r"word\d+", reply)
            assert words == [f"word{number}" for number in range(len(words))]
            assert [other for other in names if f"You said {other} until {other}." in reply] == [name]
            assert "The end." in reply
        assert "You said four." in last.wait_for_reply()


def test_a_slider_moved_meanwhile_does_not_interrupt_a_reply(watcher: Visitor) -> None:
    watcher.say("hello")
    expect(watcher.messages.nth(1)).to_contain_text("word1 ")
    watcher.open_settings()
    watcher.page.get_by_role("slider", name="Temperature").press("ArrowRight")
    reply = watcher.wait_for_reply()
    assert "word59 The end." in reply


def test_another_persona_goes_on_with_the_chat(watcher: Visitor) -> None:
    watcher.say("hello")
    watcher.wait_for_reply()
    watcher.choose("Persona", "Nora")
    expect(watcher.box).to_have_attribute("placeholder", "Message Nora")
    expect(watcher.messages.nth(1)).to_contain_text("You said hello.")
    watcher.say("and now?")
    assert "You said and now?" in watcher.wait_for_reply(2)
    watcher.choose("Persona", "Menny")  # or the next chats would begin with Nora


def suggest(watcher: Visitor, text: str) -> None:
    watcher.page.get_by_test_id("stMain").get_by_role("button", name=text).click()


def test_a_suggestion_is_asked_once(watcher: Visitor) -> None:
    suggest(watcher, "Explain attention")
    assert "The end." in watcher.wait_for_reply()
    watcher.say("next")
    assert "You said next." in watcher.wait_for_reply(2)
    expect(watcher.messages).to_have_count(4)


def test_a_suggestion_can_be_stopped_too(watcher: Visitor) -> None:
    suggest(watcher, "Give me three excuses")
    expect(watcher.messages.nth(1)).to_contain_text("word1 ")
    watcher.page.get_by_role("button", name="Stop", exact=True).click()
    assert "stopped" in watcher.wait_for_reply()


def test_nothing_that_a_reply_writes_is_loaded_or_run(watcher: Visitor, elsewhere: Elsewhere) -> None:
    watcher.say("hostile text, and it costs $5 and $10")
    reply = watcher.wait_for_reply()
    assert "![a picture](" in reply
    assert "<script>" in reply
    assert "It costs $5 and $10 :red[in red] :tada:" in reply
    assert "costs $5 and $10" in watcher.messages.first.inner_text()
    assert watcher.messages.nth(1).locator("img:not([data-testid]):not([alt*='avatar'])").count() == 0
    assert elsewhere.asked == []


def test_the_policy_keeps_out_what_the_page_would_let_in(watcher: Visitor, elsewhere: Elsewhere, staged: str) -> None:
    blocked = watcher.page.evaluate(
        """address => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective))
            new Image().src = address + "/planted.png"
        })""",
        elsewhere.address,
    )
    assert blocked == "img-src"
    assert elsewhere.asked == []
    with urlopen(staged) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_page_fits_a_phone_and_loads_from_nowhere_else(browser: Browser, staged: str) -> None:
    asked: list[str] = []
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        visitor = Visitor(page, staged)
        for _ in range(2):
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            visitor.say("hello")
            visitor.wait_for_reply()
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {staged.split("/")[2]}
