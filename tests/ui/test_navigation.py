"""Going from page to page: what was set, said and begun is still there on coming back."""

import pytest
from playwright.sync_api import Browser, expect

from tests.ui.browsing import Visitor
from tests.ui.conftest import Stage, go, say, texts

WORDS = 60  # of a reply, so that it is still being written
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"


def test_what_the_sidebar_holds_survives_a_visit_elsewhere(stage: Stage) -> None:
    (stage.home / "models" / "other.gguf").write_bytes(b"GGUF")
    page = stage.open_page()
    page.selectbox(key="model").select("other.gguf").run()
    page.selectbox(key="persona").select("nora").run()
    page.selectbox(key="guardrail").select("llama-2").run()
    for key, value in {
        "temperature": 1.25,
        "max_tokens": 77,
        "top_p": 0.5,
        "min_p": 0.1,
        "repetition_penalty": 1.5,
    }.items():
        page.slider(key=key).set_value(value)
    page.slider(key="top_k").set_value(9)
    page.number_input(key="seed").set_value(3).run()

    def held() -> dict[str, object]:
        kinds = (
            "selectbox",
            "slider",
            "number_input",
            "text_input",
            "toggle",
            "checkbox",
            "radio",
            "segmented_control",
        )
        return {str(widget.key): widget.value for kind in kinds for widget in page.sidebar.get(kind)}

    before = held()
    go(page, "personas")
    assert page.title[0].value == "Personas"
    go(page, "personas")
    go(page, "")
    assert held() == before
    say(page, "Hi")
    params = stage.engine.params[0]
    assert (params.temperature, params.max_tokens, params.top_k, params.seed) == (1.25, 77, 9, 3)
    assert stage.loaded == [stage.home / "models" / "other.gguf"]


def test_a_chat_is_still_there_after_a_visit_elsewhere(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    assert not go(page, "personas").chat_message
    go(page, "")
    assert "You said: Hello" in texts(page)[1]
    say(page, "Again")
    assert "<|im_start|>user\nHello<|im_end|>" in stage.engine.prompts[1]


def test_chat_with_goes_to_the_chat_with_that_persona_and_its_parameters(stage: Stage) -> None:
    page = go(stage.open_page(), "personas")
    page.button(key="chat-with-nora").click().run()
    assert page.selectbox(key="persona").value == "nora"
    say(go(page, ""), "Hi")
    assert "Nora" in stage.engine.prompts[0]


@pytest.mark.browser
@pytest.mark.slow
def test_a_reply_goes_on_while_its_reader_is_elsewhere(browser: Browser, staged: str) -> None:
    with browser.new_context() as context:
        visitor = Visitor(context.new_page(), staged)
        visitor.say("hello")
        expect(visitor.messages.nth(1)).to_contain_text("word1 ")
        visitor.page.get_by_role("link", name="Personas").click()
        expect(visitor.page.get_by_role("heading", name="Personas")).to_be_visible()
        expect(visitor.page).to_have_title("Personas · Menny")
        visitor.page.get_by_role("link", name="Chat", exact=True).click()
        assert "word59 The end." in visitor.wait_for_reply()


@pytest.mark.browser
@pytest.mark.slow
def test_on_a_phone_the_other_page_is_in_sight_at_once(browser: Browser, staged: str) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, user_agent=PHONE, has_touch=True) as context:
        visitor = Visitor(context.new_page(), staged)
        visitor.page.get_by_test_id("stExpandSidebarButton").click()
        visitor.page.get_by_role("link", name="Personas").click()
        visitor.page.get_by_role("button", name="Chat with Menny").click()
        expect(visitor.box).to_be_enabled()
        assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
