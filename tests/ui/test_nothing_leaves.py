"""What leaves this machine, and who is let in: measured by a recording proxy and a guard at the server's sockets."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from menny.config.paths import PROJECT
from tests.http_here import http_here
from tests.ui.browsing import Visitor, serve_alone

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Imported by the server's Python before anything else: writes down every address beyond this machine that is asked for.
GUARD = """
import os, socket
def record(what):
    with open(os.environ["MENNY_TEST_RECORD"], "a") as record:
        record.write(str(what) + "\\n")
def is_here(address):
    return not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1", "localhost")
class Guarded(socket.socket):
    def connect(self, address):
        if not is_here(address):
            record(address)
            raise OSError("the guard lets nothing out")
        return super().connect(address)
    def connect_ex(self, address):
        if not is_here(address):
            record(address)
            return 111
        return super().connect_ex(address)
    def sendto(self, data, *more):
        if not is_here(more[-1]):
            record(more[-1])
            raise OSError("the guard lets nothing out")
        return super().sendto(data, *more)
socket.socket = Guarded
look_up = socket.getaddrinfo
def getaddrinfo(host, *more, **named):
    if host not in (None, "", "127.0.0.1", "::1", "localhost", b"127.0.0.1", b"localhost"):
        record(host)
        raise socket.gaierror("the guard looks nothing up")
    return look_up(host, *more, **named)
socket.getaddrinfo = getaddrinfo
socket.gethostbyname = socket.gethostbyname_ex = lambda host: getaddrinfo(host, 0)
"""

# A page that opens WebSockets to Menny in a loop, as Streamlit's own page opens one.
ATTACK = """address => {
  window.got = []
  const attack = () => {
    const socket = new WebSocket(address.replace("http", "ws") + "/_stcore/stream", ["streamlit"])
    socket.onopen = () => { window.got.push("opened"); socket.send(new Uint8Array([0x5a, 0])) }
    socket.onmessage = () => window.got.push("a frame")
    socket.onclose = () => setTimeout(attack, 20)
  }
  attack()
}"""
FOREIGN_PAGE = "<!doctype html><title>elsewhere</title>"
SANDBOXED_PAGE = "<iframe sandbox='allow-scripts' srcdoc='<!doctype html>'></iframe>"  # its origin is null
REFUSED = ("403", "BLOCKED_BY_LOCAL_NETWORK_ACCESS")  # by Menny, or for some pages by a new browser itself
MOST_SECONDS = 2.0  # for a request meanwhile; that long Streamlit alone would wait for an address, for each socket
SECONDS_OF_HEALTH = """async () => {
  const taken = []
  for (let number = 0; number < 20; number++) {
    const began = performance.now()
    await (await fetch("/_stcore/health")).text()
    taken.push((performance.now() - began) / 1000)
  }
  return taken
}"""


HTML = "text/html"
STREAMLIT = Subprotocol("streamlit")
BROWSERS_OWN = "content-autofill.googleapis.com"  # which Chromium asks about every form, of any page
UDP = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 1))"
NOTES_WHAT_IS_BLOCKED = (
    "window.blocked = []; "
    "document.addEventListener('securitypolicyviolation', event => window.blocked.push(event.blockedURI))"
)


def guarded(home: Path) -> dict[str, str]:
    """The environment of a Python whose sockets write what they are asked for to `home / "record"`, and refuse it."""
    (home / "guard").mkdir(exist_ok=True)
    (home / "guard" / "sitecustomize.py").write_text(GUARD)
    return {"MENNY_TEST_RECORD": str(home / "record"), "PYTHONPATH": f"{home / 'guard'}:{PROJECT}"}


def recorded(home: Path) -> list[str]:
    """What those sockets were asked for."""
    record = home / "record"
    return record.read_text().splitlines() if record.exists() else []


class Proxy(BaseHTTPRequestHandler):
    """A proxy that notes what it is asked for, and answers none of it."""

    asked: list[str]

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if self.raw_requestline:
            self.asked.append(self.raw_requestline.decode("latin-1").strip())
        self.close_connection = True


class Foreign(BaseHTTPRequestHandler):
    """Another site's page, on another port of this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write((SANDBOXED_PAGE if self.path == "/sandboxed" else FOREIGN_PAGE).encode())

    def log_message(self, *args: object) -> None: ...


@dataclass(frozen=True)
class Watched:
    """A served Menny, and what was seen to leave it."""

    address: str
    proxied: list[str]
    home: Path

    @property
    def left(self) -> list[str]:
        return [*(one for one in self.proxied if BROWSERS_OWN not in one), *recorded(self.home)]


@pytest.fixture(scope="module")
def watched(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    home = tmp_path_factory.mktemp("watched")
    asked: list[str] = []
    with http_here(Proxy, asked=asked) as proxy:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        settings = dict.fromkeys(names, proxy) | {"NO_PROXY": "127.0.0.1,localhost"} | guarded(home)
        with serve_alone("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="60", **settings) as address:
            yield Watched(address, asked, home)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with http_here(Foreign) as address:
        yield address


@pytest.fixture
def context(browser: Browser, watched: Watched) -> Iterator[BrowserContext]:
    """A browser that sends all that goes beyond this machine to the proxy."""
    with (
        http_here(Proxy, asked=watched.proxied) as proxy,
        browser.new_context(proxy={"server": proxy, "bypass": "127.0.0.1"}) as opened,
    ):
        yield opened


def violations(page: Page) -> list[str]:
    """The addresses that the page wanted to load from and its policy didn't let it."""
    return [str(one) for one in page.evaluate("window.blocked") if "//" in one]


def test_the_guard_and_the_proxy_see_what_leaves(context: BrowserContext, watched: Watched, tmp_path: Path) -> None:
    """So that their silence below means something."""
    before = len(watched.proxied)
    page = context.new_page()
    page.goto("about:blank")
    page.evaluate("fetch('http://menny.invalid/x').catch(() => 0)")
    assert any("menny.invalid" in one for one in watched.proxied[before:])
    del watched.proxied[before:]
    programs = ("from urllib.request import urlopen; urlopen('http://menny.invalid/')", UDP, "import streamlit")
    for program in programs:
        subprocess.run([sys.executable, "-c", program], env=guarded(tmp_path), stderr=subprocess.DEVNULL)
    assert (tmp_path / "record").read_text().splitlines() == ["menny.invalid", "('192.0.2.1', 1)"]


def test_every_page_asks_only_menny(context: BrowserContext, watched: Watched) -> None:
    asked: list[str] = []
    context.add_init_script(NOTES_WHAT_IS_BLOCKED)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    visitor = Visitor(page, watched.address)
    visitor.say("show code")
    visitor.wait_for_reply()
    assert violations(page) == []
    page.get_by_role("link", name="Models").click()
    expect(page).to_have_title("Models · Menny")
    for name in ("personas", "models"):
        page.goto(f"{watched.address}/{name}")
        expect(page).to_have_title(f"{name.capitalize()} · Menny")
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        assert violations(page) == []
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {watched.address.split("/")[2]}
    assert watched.left == []


def test_of_eight_pages_and_four_sockets_from_elsewhere_none_gets_a_frame_and_menny_stays_quick(
    browser: Browser, context: BrowserContext, watched: Watched, elsewhere: str, tmp_path: Path
) -> None:
    """They come in a loop, while a reply is written for the one whose page it is."""
    visitor = Visitor(context.new_page(), watched.address)
    port, neighbour = watched.address.rpartition(":")[2], elsewhere.rpartition(":")[2]
    (tmp_path / "page.html").write_text(FOREIGN_PAGE)
    addresses = [
        elsewhere,
        f"http://localhost:{neighbour}",
        f"http://localhost:{port}",  # Menny's own page, by another name of this machine
        "http://attacker.example",
        f"https://attacker.example:{port}",
        f"http://127.0.0.1.attacker.example:{port}",
        (tmp_path / "page.html").as_uri(),
        f"{elsewhere}/sandboxed",
    ]
    handshakes: list[str] = []
    stop = threading.Event()
    with browser.new_context(bypass_csp=True) as attackers:
        attackers.route(
            re.compile("attacker.example"), lambda route: route.fulfill(body=FOREIGN_PAGE, content_type=HTML)
        )
        frames = [began(attackers.new_page(), address, watched.address, handshakes) for address in addresses]
        origins = ["https://attacker.example", elsewhere, "null", f"http://localhost:{port}"]
        with ThreadPoolExecutor(len(origins)) as pool:
            knocks = [pool.submit(knock, watched.address, origin, stop) for origin in origins]
            try:
                visitor.say("hello")
                assert "word59 The end." in visitor.wait_for_reply()
                seconds = visitor.page.evaluate(SECONDS_OF_HEALTH)
            finally:
                stop.set()
            assert {answer for one in knocks for answer in one.result()} == {403}
        assert [frame.evaluate("window.got") for frame in frames] == [[]] * 8
    assert max(seconds) < MOST_SECONDS
    assert len(handshakes) > 8
    assert all(any(reason in error for reason in REFUSED) for error in handshakes), set(handshakes)
    assert any("403" in error for error in handshakes)
    assert watched.left == []


def began(page: Page, address: str, target: str, handshakes: list[str]) -> Frame:
    """Open a page of another address, and let it open WebSockets; the errors of their handshakes are listed."""
    page.on("websocket", lambda opened: opened.on("socketerror", lambda error: handshakes.append(error)))
    page.goto(address)
    frame = page.frames[-1]
    frame.evaluate(ATTACK, target)
    return frame


def knock(address: str, origin: str, stop: threading.Event) -> list[int]:
    """Open WebSockets without a browser, in a loop; returns the status of each answer, 101 for one that was opened."""
    answers: list[int] = []
    while not stop.wait(0.02):
        try:
            with connect(
                address.replace("http", "ws") + "/_stcore/stream", origin=Origin(origin), subprotocols=[STREAMLIT]
            ):
                answers.append(101)
        except InvalidStatus as error:
            answers.append(error.response.status_code)
    return answers


@pytest.mark.parametrize("name", ["attacker.example", "127.0.0.1:1", "127.0.0.1"])
@pytest.mark.parametrize(
    "path", ["/", "/_stcore/health", "/_stcore/host-config", "/app/static/fonts/inter-LICENSE.txt"]
)
def test_a_rebound_name_gets_nothing_by_http(watched: Watched, path: str, name: str) -> None:
    with pytest.raises(HTTPError) as raised:
        urlopen(Request(watched.address + path, headers={"Host": name}))
    with raised.value as refused:
        assert refused.code == 403
        assert "Content-Security-Policy" in refused.headers


def test_a_page_of_another_port_can_load_no_file_of_mennys(
    context: BrowserContext, watched: Watched, elsewhere: str
) -> None:
    page = context.new_page()
    page.goto(elsewhere)
    loaded = page.evaluate(
        """address => new Promise(done => {
            const made = Object.assign(new Image(), { onload: () => done("loaded"), onerror: () => done("refused") })
            made.src = address + "/favicon.png"
        })""",
        watched.address,
    )
    assert loaded == "refused"
    page.goto(watched.address)  # while a link may lead there
    expect(page).to_have_title("Menny")


def test_configured_addresses_get_the_page_and_others_none(tmp_path: Path) -> None:
    settings = {
        "STREAMLIT_SERVER_ALLOWED_HOSTS": "chat.example.org *.lan.example",
        "STREAMLIT_SERVER_CORS_ALLOWED_ORIGINS": "https://proxy.example.org",
    }
    with serve_alone("app.py", tmp_path, **settings | guarded(tmp_path)) as address:
        here = address.removeprefix("http://")
        for host, origin, is_fine in [
            (here, None, True),
            (here, address, True),
            ("chat.example.org", "http://chat.example.org", True),
            ("pc.lan.example:8501", "http://pc.lan.example:8501", True),
            (here, "https://proxy.example.org", True),
            ("chat.example.org", "https://proxy.example.org", True),
            ("chat.example.org", "https://attacker.example", False),
            ("attacker.example", "http://attacker.example", False),
            (here, "http://chat.example.org", False),
        ]:
            assert gets_a_frame(address, host, origin) == is_fine, (host, origin)
    assert recorded(tmp_path) == []


def gets_a_frame(address: str, host: str, origin: str | None) -> bool:
    """Whether Streamlit draws its page over a WebSocket with these headers."""
    asked = BackMsg()
    asked.rerun_script.query_string = ""
    url, named = f"ws://{host}/_stcore/stream", Origin(origin) if origin else None
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as raw:
        try:
            with connect(url, sock=raw, origin=named, subprotocols=[STREAMLIT], max_size=None) as stream:
                stream.send(asked.SerializeToString())
                return bool(stream.recv(60))
        except InvalidStatus:
            return False


def test_listening_everywhere_asks_no_service_for_the_public_address(tmp_path: Path) -> None:
    everywhere = {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"} | guarded(tmp_path)
    with serve_alone("app.py", tmp_path, **everywhere) as address, urlopen(address) as answer:
        assert answer.status == 200
    assert recorded(tmp_path) == []
