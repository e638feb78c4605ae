"""A page of its own for every test: an empty home, a configs folder, and an engine that says what the test wants."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from streamlit.testing.v1 import AppTest

from menny.config.paths import PROJECT
from menny.models.loader import ModelSource
from menny.ui.shared import options, shared_engine
from menny.ui.sidebar.fold import ADDING, ADVANCED, FILES, GUIDE, MODERATION
from menny.ui.sidebar.sidebar import SETTINGS, TABS
from tests.ui.browsing import end_forking, open_browser, serve
from tests.ui.fake_engine import FakeEngine, parrot

PAGE = PROJECT / "menny" / "ui" / "page.py"


class Stage:
    """What the page stands on in a test."""

    def __init__(self, home: Path, configs: Path) -> None:
        self.home, self.configs = home, configs
        self.engine = FakeEngine(parrot)
        self.loaded: list[object] = []
        self.load: Callable[[ModelSource], FakeEngine] = lambda source: self.engine

    def loading(self, source: ModelSource) -> FakeEngine:
        self.loaded.append(source.place)
        return self.load(source)

    def open_page(self) -> AppTest:
        page = AppTest.from_file(str(PAGE), default_timeout=60)
        page.session_state[TABS] = SETTINGS  # whose widgets are drawn only while it is open, as those of folds
        for fold in (ADDING, ADVANCED, GUIDE, MODERATION, FILES):
            page.session_state[fold] = True
        page.run()
        assert not page.exception
        return page


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    home, configs = tmp_path / "home", tmp_path / "configs"
    (home / "models").mkdir(parents=True)
    shutil.copytree(PROJECT / "configs", configs)
    for file in (configs / "personas").iterdir():  # so that a chat's first message is the test's
        file.write_text(re.sub(r"^greeting:.*\n", "", file.read_text(), flags=re.MULTILINE))
    (home / "models" / "little.gguf").write_bytes(b"GGUF")
    (configs / "models.yaml").write_text(
        "models:\n"
        "  - {id: here, name: Here, path: little.gguf, template: chatml}\n"
        "  - {id: absent, name: Absent, repo: somebody/absent, template: chatml}\n"
    )
    monkeypatch.setenv("MENNY_HOME", str(home))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(options, "CONFIGS", configs)
    built = Stage(home, configs)
    monkeypatch.setattr(shared_engine, "load_engine", built.loading)
    shared_engine.shared_engine.clear()
    return built


@pytest.fixture(scope="session", autouse=True)
def forked_servers() -> Iterator[None]:
    """What servers are forks of ends after the last test."""
    yield
    end_forking()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one."""
    expect.set_options(timeout=60_000)  # a busy machine is no failure
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for a module, so that only the first page has to fetch and compile what Streamlit is made of."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as opened:
        yield opened


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a module's server."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def menny(browser: Browser, home: Path) -> Iterator[str]:
    """Menny as it is served, with the model that comes along: its address. Chats keep the titles of their questions."""
    (home / "menny").mkdir(exist_ok=True)
    (home / "menny" / "settings.yaml").write_text("titles: false\n")
    with serve("app.py", home) as address:
        yield address


@pytest.fixture(scope="module")
def staged(request: pytest.FixtureRequest, browser: Browser, home: Path) -> Iterator[str]:
    """The address of a page over an engine that writes slowly what is wanted, in as many words as its module says."""
    words = str(getattr(request.module, "WORDS", 8))
    with serve("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS=words) as address:
        yield address


def go(page: AppTest, where: str) -> AppTest:
    """Follow a link of the navigation: "" is the chat."""
    pages = page._registered_pages
    page._page_hash = next(key for key, info in pages.items() if info.get("url_pathname", "") == where)
    return page.run()


def say(page: AppTest, text: str) -> AppTest:
    """Type a message, send it, and wait for the reply."""
    return page.chat_input(key="message").set_value(text).run()


def texts(page: AppTest) -> list[str]:
    """What stands in the conversation, message by message, without the authors' names."""
    kinds = ("text", "markdown", "error", "caption")
    found = [[str(part.value) for kind in kinds for part in message.get(kind)] for message in page.chat_message]
    return ["\n".join(parts[bool(message.text) :]) for parts, message in zip(found, page.chat_message, strict=True)]


def given_back(page: AppTest) -> list[str]:
    """The texts of messages that are open for a change."""
    return [str(area.value) for area in page.text_area if str(area.key).startswith("edit-")]
