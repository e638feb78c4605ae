"""What the page's user decides and sees of the model's memory."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

from tests.ui.browsing import Visitor, open_browser, serve
from tests.ui.conftest import Stage, given_back, say, texts
from tests.ui.fake_engine import FakeEngine


def told(stage: Stage) -> str:
    """What the model got with the last question, without its instructions."""
    return stage.engine.prompts[-1].split("<|im_end|>", 1)[1]


def test_the_last_turns_are_all_that_the_model_sees(stage: Stage) -> None:
    page = stage.open_page()
    page.selectbox(key="memory").select("turns").run()
    page.number_input(key="memory_turns").set_value(1).run()
    for text in ("first", "second", "third"):
        say(page, text)
    assert "first" not in told(stage)
    assert "second" in told(stage)


def test_everything_gives_a_message_that_no_longer_fits_back_with_what_to_do(stage: Stage) -> None:
    page = stage.open_page()
    page.selectbox(key="memory").select("everything").run()
    for number in range(4):
        say(page, f"{number} " + "word " * 100)
    assert any("Choose a memory" in warning.value for warning in page.warning)
    assert given_back(page)[0].startswith("3 word")
    page.selectbox(key="memory").select("recent").run()
    say(page, "3 again")
    assert "You said: 3 again" in texts(page)[-1]


def test_a_personas_memory_is_taken_up_with_the_persona(stage: Stage) -> None:
    (stage.configs / "personas" / "goldie.yaml").write_text(
        "name: Goldie\nsystem_prompt: You are a goldfish.\nmemory: {strategy: turns, turns: 0}\n"
    )
    page = stage.open_page()
    assert page.selectbox(key="memory").value == "recent"
    assert "memory_turns" not in [widget.key for widget in page.number_input]
    page.selectbox(key="persona").select("goldie").run()
    assert page.selectbox(key="memory").value == "turns"
    assert page.number_input(key="memory_turns").value == 0
    say(page, "first")
    say(page, "second")
    assert "first" not in told(stage)


def meter(page: AppTest) -> str:
    """The meter's words, without its marks; nothing where it isn't drawn."""
    drawn = [part.proto.body for part in page.sidebar.get("html")]
    return " ".join(re.sub(r"<[^>]*>", " ", " ".join(drawn)).split())


def test_the_meter_counts_what_the_next_prompt_will_take(stage: Stage) -> None:
    page = stage.open_page()
    assert meter(page) == ""  # before the model is loaded there is nothing to count with
    say(page, "Hello there")
    before = meter(page)
    assert re.search(r"Instructions [\d,]+ Turns [\d,]+ Kept for the reply [\d,]+ Free [\d,]+$", before)
    page.selectbox(key="memory").select("turns").run()
    page.number_input(key="memory_turns").set_value(0).run()
    assert "Turns" in before
    assert "Turns" not in meter(page).replace("Turns before", "")


def test_a_summary_is_written_shown_and_counted(stage: Stage) -> None:
    note = "They counted words."
    stage.engine = FakeEngine(lambda prompt: [note if "Sum up the conversation" in prompt else "ok"])
    page = stage.open_page()
    page.selectbox(key="memory").select("summary").run()
    for number in range(8):
        say(page, f"{number} " + "word " * 80)
    assert note in stage.engine.prompts[-1]
    assert any("it has a summary of it" in caption.value for caption in page.caption)
    assert note in [text.value for text in page.text]
    assert re.search(r"Summary \d+", meter(page))
    asked = [prompt for prompt in stage.engine.prompts if "Sum up the conversation" in prompt]
    assert 1 <= len(asked) <= 3


def test_a_summary_that_fails_is_told_below_the_reply(stage: Stage) -> None:
    stage.engine = FakeEngine(lambda prompt: ["<fail>" if "Sum up the conversation" in prompt else "ok"])
    page = stage.open_page()
    page.selectbox(key="memory").select("summary").run()
    for number in range(8):
        say(page, f"{number} " + "word " * 80)
    assert "be summarized" in texts(page)[-1]
    assert "ok" in texts(page)[-1]


@pytest.mark.slow
@pytest.mark.browser
def test_what_the_model_no_longer_sees_stands_back_in_the_chat(tmp_path: Path) -> None:
    with serve("tests/ui/app_with_fake_engine.py", tmp_path) as address, open_browser() as browser:
        visitor = Visitor(browser.new_page(), address)
        for number in range(1, 4):
            visitor.say(f"question {number}")
            visitor.wait_for_reply(number)
        standing_back = visitor.page.locator("[class*=st-key-unseen-]")
        expect(standing_back).to_have_count(0)
        visitor.choose("Memory", "Last turns")
        turns = visitor.page.get_by_label("Turns before the question")
        turns.fill("1")
        turns.press("Enter")
        expect(standing_back).to_have_count(5)  # the greeting, and two questions with their replies
        expect(standing_back.first).not_to_have_css("opacity", "1")
        expect(standing_back.last).to_contain_text("You said question 2")
        expect(visitor.page.get_by_text("the model no longer sees what was said")).to_be_visible()
        expect(visitor.page.locator(".menny-meter")).to_contain_text("Kept for the reply")
