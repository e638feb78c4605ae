"""The page of models in a real browser: a model got from a hub, loaded and talked to; and a chat over a real server."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from menny.engine.checkpoints.convert import QuantizationConfig, convert
from tests.models.hub.fake_hub import FakeHub
from tests.models.hub.fake_hub import serving as serving_hub
from tests.peer_server import mlx_lm_serving
from tests.ui.browsing import REST, Visitor, open_and_use, serve, serve_alone, serving, stopped

pytestmark = [pytest.mark.slow, pytest.mark.browser]

APP = "app.py"


def a_home(tmp_path: Path, entry: str) -> Path:
    (tmp_path / "menny").mkdir()
    (tmp_path / "menny" / "models.yaml").write_text(f"models:\n- {entry}\n")
    return tmp_path


def card(page: Page, model: str) -> Page:
    return page.locator(f".st-key-model-{model}")


def test_a_model_is_got_cancelled_got_loaded_and_talked_to(
    browser: Browser, tmp_path: Path, smollm2_path: Path
) -> None:
    home = a_home(tmp_path, "{id: little, name: Little, repo: somebody/little, template: chatml}")
    hub = FakeHub("somebody/little", {"little.gguf": smollm2_path.read_bytes()}, pause=0.05, piece=1 << 18)
    with serving_hub(hub), serve_alone(APP, home, HF_ENDPOINT=hub.address, HF_HUB_OFFLINE="0") as address:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/models")
        little = card(page, "little")
        expect(little.get_by_text("Not downloaded")).to_be_visible()
        little.get_by_role("button", name="Download").click()
        expect(little.get_by_text("0 of 1 files")).to_be_visible()
        expect(little.get_by_text("/s")).to_be_visible()
        little.get_by_role("button", name="Cancel").click()
        expect(little.get_by_text("Cancelled.")).to_be_visible()
        assert not (home / "menny" / "models" / "little").exists()

        hub.pause, hub.piece = 0.0, 1 << 20
        little.get_by_role("button", name="Download").click()
        expect(little).to_contain_text("Load")
        little.get_by_role("button", name="Load", exact=True).click()
        expect(little).to_contain_text("Loaded")

        page.get_by_role("link", name="Chat").click()
        box = page.get_by_test_id("stChatInputTextArea")
        box.fill("What is the capital of France?")
        box.press("Enter")
        reply = page.get_by_test_id("stChatMessage").last
        expect(reply.get_by_role("button", name="Copy the reply")).to_be_visible(timeout=120_000)
        expect(reply.get_by_text("Little ·")).to_be_visible()  # the reply may have the word

        page.get_by_role("link", name="Models").click()
        page.get_by_role("button", name="Unload").click()
        expect(page.get_by_text("No model is loaded.")).to_be_visible()
        little.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Remove for good").click()
        expect(little).to_have_count(0)  # with the entry, which is one's own
        assert not (home / "menny" / "models" / "little").exists()
        page.close()


def test_a_model_is_converted_cancelled_converted_and_loaded(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "menny" / "models"
    with serving(APP, tmp_path) as server, browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{server.address}/models")
        source, convert_now = card(page, "smollm2"), page.get_by_role("button", name="Convert now")
        source.get_by_role("button", name="Convert").click()
        page.locator(".st-key-bits-smollm2").get_by_role("radio", name="8", exact=True).click()
        expect(page.get_by_text("Written as smollm2-8bit")).to_be_visible()
        convert_now.click()
        expect(source.get_by_text("Converting to smollm2-8bit")).to_be_visible()
        with stopped(server.process):  # so that it isn't done before it is cancelled
            source.get_by_role("button", name="Cancel").click()
        expect(source.get_by_text("The conversion was cancelled")).to_be_visible()
        assert list(folder.iterdir()) == []

        expect(source.get_by_role("button", name="Convert")).to_have_count(1)  # the page has been drawn anew
        four = page.locator(".st-key-bits-smollm2").get_by_role("radio", name="4", exact=True)
        open_and_use(source.get_by_role("button", name="Convert"), lambda: four.click(timeout=REST))
        convert_now.click()
        expect(source.get_by_text("Converting to smollm2-4bit")).to_be_visible()
        expect(source.get_by_text("Converted: smollm2-4bit is here.")).to_be_visible()
        target = card(page, "smollm2-4bit")
        target.get_by_role("button", name="Load", exact=True).click()
        expect(target).to_contain_text("Loaded")
        assert [path.name for path in folder.iterdir()] == ["smollm2-4bit"]


def test_a_chat_over_a_server_is_stopped_and_outlives_the_server(
    browser: Browser, tmp_path: Path, smollm2_path: Path
) -> None:
    folder = tmp_path / "served" / "smollm2"
    convert(smollm2_path, folder, QuantizationConfig("float32"))
    with mlx_lm_serving(folder) as (server, process):
        home = a_home(tmp_path, f"{{id: far, name: Far away, server: '{server}', served: {folder}}}")
        with serve(APP, home) as address:
            visitor = Visitor(browser.new_page(), address)
            visitor.choose("Model", "Far away")
            visitor.say("What is the capital of France? Answer in one sentence.")
            assert "Far away" in visitor.wait_for_reply()

            visitor.say("Tell me a very long story about a dragon and a knight.")
            expect(visitor.messages.nth(3)).to_contain_text("tokens")
            visitor.stop_button.click()
            assert "stopped" in visitor.wait_for_reply(2)

            process.kill()
            process.wait()  # a process that is ending still takes connections
            visitor.say("Are you still there?")
            expect(visitor.messages.nth(5)).to_contain_text("is the server running")
            visitor.choose("Model", "SmolLM2")
            visitor.say("Are you there now?")
            assert "SmolLM2" in visitor.wait_for_reply(4)
            visitor.page.close()
