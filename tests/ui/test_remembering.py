"""What the page's user decides and sees of the model's memory."""

from .conftest import Stage, say, texts


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
    assert page.chat_input(key="message").value.startswith("3 word")
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
