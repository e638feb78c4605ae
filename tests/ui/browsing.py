"""A served page and a real Chromium to look at it with."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as NotInTime

from menny.config.paths import PROJECT

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # what shimmers and glides is painted by the processor
]

NEXT_KEY = 600  # ms: longer than a slider waits for one
REST = 2000  # milliseconds that a page may take to come to rest before a click
PRESSES = 20  # that a person makes before giving up

# Resolves once the page was drawn after what it last told the server, or isn't drawn within a second; or has a Stop
# button: such a page is busy, and used nevertheless.
AT_REST = """longest => {
  const page = window.testedPage ??= { told: 0, drawn: 0, isRunning: true, look() {
    const isRunning = document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState !== "notRunning"
    if (this.isRunning && !isRunning) this.drawn = performance.now()
    this.isRunning = isRunning
  } }
  if (!page.send) {
    page.send = WebSocket.prototype.send
    WebSocket.prototype.send = function (...data) { page.told = performance.now(); return page.send.apply(this, data) }
    new MutationObserver(() => page.look()).observe(document, { subtree: true, attributes: true,
      attributeFilter: ["data-test-script-state"] })
  }
  const end = performance.now() + longest
  return new Promise(go => {
    const wait = () => {
      page.look()
      const now = performance.now(), isDrawn = page.drawn > page.told || now - page.told > 1000
      if ((isDrawn && !page.isRunning) || now > end || document.querySelector(".st-key-stop button")) go()
      else setTimeout(wait, 20)
    }
    wait()
  })
}"""


def chromium() -> str:
    """The browser; where there is none, tests that need it are left out, though not where CI runs them."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        message = "There is no Chromium on this machine (on Debian: apt-get install chromium)."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def patiently(click: Callable[..., None]) -> Callable[..., None]:
    """A click as a person makes it, on a page that has come to rest: while it is drawn, a button may move away between
    the press and the release, and nothing is clicked.
    """

    def wait_and_click(self: Locator, **options: Any) -> None:
        self.wait_for(timeout=options.get("timeout"))
        self.page.evaluate(AT_REST, REST)
        click(self, **options)

    return wait_and_click


@contextmanager
def open_browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright, mock.patch.object(Locator, "click", patiently(Locator.click)):
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serve(entry: str, home: Path, **environment: str) -> Iterator[str]:
    """Run `streamlit run entry` in a home until the block ends; yields its address."""
    with serving(entry, home, **environment) as server:
        yield server.address


@dataclass(frozen=True)
class Server:
    """A fork of tests/ui/forking_server.py."""

    address: str
    process: int

    @property
    def is_running(self) -> bool:
        with suppress(ProcessLookupError):
            os.kill(self.process, 0)
            return True
        return False

    def end(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, and wait until the process is gone."""
        deadline = time.monotonic() + 20
        with suppress(ProcessLookupError):
            os.kill(self.process, by)
        while self.is_running:
            assert time.monotonic() < deadline, "The server doesn't end."
            time.sleep(0.01)


@contextmanager
def serving(entry: str, home: Path, **environment: str) -> Iterator[Server]:
    """As `serve`; yields the server, which a test may end itself."""
    port, log = free_port(), home / "server.log"
    order = {"entry": entry, "environment": environment_of(home) | environment, "log": str(log), "port": port}
    server = Server(f"http://127.0.0.1:{port}", forked(order))
    try:
        wait_for_server(server.address, lambda: server.is_running, log)
        yield server
    finally:
        server.end()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Hold a process until the block ends."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@cache
def forking() -> "subprocess.Popen[str]":
    """The process that servers are forks of, for all tests that this process runs."""
    command = [sys.executable, "-m", "tests.ui.forking_server"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, cwd=PROJECT, text=True, start_new_session=True, **pipes)


one_at_a_time = threading.Lock()


def forked(order: Mapping[str, Any]) -> int:
    """The process id of a new server."""
    process = forking()
    assert process.stdin
    assert process.stdout
    with one_at_a_time:
        print(json.dumps(order), file=process.stdin, flush=True)
        return int(process.stdout.readline())


def end_forking() -> None:
    """End the process that servers are forks of, if it was started."""
    if forking.cache_info().currsize:
        forking().communicate()
        forking.cache_clear()


@contextmanager
def serve_alone(entry: str, home: Path, **environment: str) -> Iterator[str]:
    """As `serve`, with a Python of its own: where it's about what the environment makes of what is imported."""
    port, log = free_port(), home / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", entry, f"--server.port={port}", "--server.headless=true"],
            cwd=PROJECT,
            env=environment_of(home) | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for_server(address, lambda: server.poll() is None, log)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=20)


def environment_of(home: Path) -> dict[str, str]:
    """What a server with this home is started with."""
    return os.environ | {"HOME": str(home), "MENNY_HOME": str(home / "menny"), "PYTHONPATH": str(PROJECT)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_server(address: str, is_running: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not is_running():
            pytest.fail(f"The server ended by itself:\n{log.read_text()}")
        try:
            with urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.02)
    pytest.fail(f"The server doesn't answer:\n{log.read_text()}")


def open_and_use(what: Locator, use: Callable[[], None]) -> None:
    """Press on what opens a list or a form, and use that; once more where it doesn't open, or closes before."""
    for _ in range(PRESSES):
        what.click()
        with suppress(NotInTime):
            use()
            return
    pytest.fail("It doesn't stay open.")


class Visitor:
    """What a person does on the page, and what they see there."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        page.set_default_timeout(120_000)
        page.goto(address)
        expect(self.box).to_be_enabled(timeout=120_000)

    @property
    def box(self) -> Locator:
        return self.page.get_by_test_id("stChatInputTextArea")

    @property
    def messages(self) -> Locator:
        """What was said, without the greeting before it."""
        return self.page.locator('[data-testid="stChatMessage"]:not([class*="st-key-opening"] *)')

    @property
    def greeting(self) -> Locator:
        return self.page.locator('[class*="st-key-opening"] [data-testid="stChatMessage"]')

    @property
    def stop_button(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)

    def say(self, text: str) -> None:
        self.page.evaluate(AT_REST, REST)
        self.box.fill(text)
        self.box.press("Enter")

    def wait_for_reply(self, number: int = 1) -> str:
        """The text of a reply that is over: only then can it be copied. The line below it is drawn after that."""
        reply = self.messages.nth(2 * number - 1)
        expect(reply.get_by_role("button", name="Copy the reply")).to_be_visible(timeout=120_000)
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        return reply.inner_text()

    def new_chat(self) -> None:
        """Begin a new chat, by the sidebar's button, as messages have one too; and wait until it is there."""
        self.page.get_by_test_id("stSidebar").get_by_role("button", name="New chat").click()
        expect(self.messages).to_have_count(0)

    def move(self, slider: str, key: str) -> None:
        """Move a slider in the settings by a key, and wait until the page has told of it: it waits for a next key."""
        self.page.get_by_role("slider", name=slider).press(key)
        self.page.evaluate(f"() => new Promise(go => setTimeout(go, {NEXT_KEY}))")

    def open_settings(self) -> None:
        """Show the settings in the sidebar, in place of the chats."""
        self.page.get_by_role("tab", name="Settings").click()

    def choose(self, label: str, option: str) -> None:
        """Choose in the settings."""
        self.open_settings()
        self.pick(self.page.get_by_role("combobox", name=label), option)

    def pick(self, box: Locator, option: str) -> None:
        """Choose in a box."""
        self.open_list(box, lambda: self.page.get_by_role("option", name=option).first.click(timeout=REST))

    def open_list(self, box: Locator, use: Callable[[], None]) -> None:
        """Open a box's list and use it; once more where it closes before, as when the page is drawn or scrolled."""
        for _ in range(PRESSES):
            with suppress(PlaywrightError):  # where it is drawn anew meanwhile
                box.scroll_into_view_if_needed()
                break
        self.page.wait_for_timeout(100)
        open_and_use(box, use)
