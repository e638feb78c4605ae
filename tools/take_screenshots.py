"""Takes the pictures in images/screenshots/ again: `python tools/take_screenshots.py`.

Menny is served as a user has it, with the built-in model; a real Chromium looks at the start, at a chat, at
the editor of personas and at the models, light and dark, on a desktop and on a phone.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.ui.browsing import Visitor, open_browser, serve  # noqa: E402 - the project isn't installed

SCREENSHOTS = PROJECT / "images" / "screenshots"
DEVICES = {"desktop": (1280, 800), "phone": (390, 844)}
QUESTION = "What is the capital of France?"


def take(page: Page, name: str) -> None:
    """Store what is seen as WebP, sharp and below 300 kB."""
    page.wait_for_timeout(1200)  # until nothing moves any more
    shot = Image.open(io.BytesIO(page.screenshot()))
    shot.save(SCREENSHOTS / f"{name}.webp", quality=88, method=6)


def look_around(browser: Browser, address: str, device: str, scheme: str) -> None:
    width, height = DEVICES[device]
    with browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2
    ) as context:
        visitor = Visitor(context.new_page(), address)
        take(visitor.page, f"hero-{device}-{scheme}")
        visitor.say(QUESTION)
        visitor.wait_for_reply()
        visitor.say("Write a short poem about it.")
        visitor.wait_for_reply(2)
        take(visitor.page, f"chat-{device}-{scheme}")
        visitor.page.goto(f"{address}/personas")
        visitor.page.get_by_role("button", name="Edit").nth(1).click()
        visitor.page.get_by_text("tokens in every prompt").wait_for()
        take(visitor.page, f"personas-{device}-{scheme}")
        visitor.page.goto(f"{address}/models")
        visitor.page.get_by_role("button", name="Unload").wait_for()
        take(visitor.page, f"models-{device}-{scheme}")


def main() -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        settings = Path(home) / "menny" / "settings.yaml"
        settings.parent.mkdir()
        settings.write_text("model_hint: false\ntitles: false\n")  # each start page asks for the name
        look_at_all(Path(home))


def look_at_all(home: Path) -> None:
    """Look at the pages on every device, light and dark."""
    with serve("app.py", home) as address, open_browser() as browser:
        for device in DEVICES:
            for scheme in ("light", "dark"):
                look_around(browser, address, device, scheme)


if __name__ == "__main__":
    main()
