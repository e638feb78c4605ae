"""The page as its user meets it, run by Streamlit's own test harness over an engine that says what the test wants."""

from pathlib import Path

import pytest

from menny.config.paths import own_models_file
from menny.errors import ModelError
from tests.ui.conftest import Stage, given_back, say, texts
from tests.ui.fake_engine import FakeEngine, parrot


def test_the_start_shows_who_there_is_to_talk_to(stage: Stage) -> None:
    with (stage.configs / "personas" / "menny.yaml").open("a") as file:
        file.write("greeting: Ugh. What?\n")
    page = stage.open_page()
    assert page.button(key="talk-menny").label == "Talk to Menny"
    assert len([button for button in page.button if str(button.key).startswith("talk-")]) >= 6
    assert "Ugh" in texts(page)[0]


def test_the_start_says_where_chats_go(stage: Stage) -> None:
    own_models_file().write_text("models: [{id: far, name: Far, server: 'http://far.example:8000/v1'}]\n")
    page = stage.open_page()
    assert any("stay on this machine" in one.value for one in page.caption)
    page.selectbox(key="model").select("far").run()
    captions = [one.value.replace("\\", "") for one in page.caption]
    assert any("What you say to Far is sent to far.example:8000." in one for one in captions)
    assert not any("stay on this machine" in one for one in captions)


def test_a_message_gets_a_reply_with_its_measures(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello there")
    user, reply = texts(page)
    assert user == "Hello there"
    assert "You said: Hello there" in reply
    assert "4 tokens" in reply.replace("\\", "")
    assert "tokens/s" in reply.replace("\\", "")


def test_the_second_prompt_holds_the_first_turn(stage: Stage) -> None:
    page = say(stage.open_page(), "I am Ada")
    say(page, "Who am I?")
    assert "<|im_start|>user\nI am Ada<|im_end|>" in stage.engine.prompts[1]
    assert "<|im_start|>assistant\nYou said: I am Ada " in stage.engine.prompts[1]


def test_the_model_is_told_guardrail_then_persona(stage: Stage) -> None:
    say(stage.open_page(), "Hi")
    prompt = stage.engine.prompts[0]
    assert prompt.index("Always assist with care, respect, and truth") < prompt.index("Menny")
    assert prompt.startswith("<|im_start|>system\n")


def test_a_blank_message_is_not_sent(stage: Stage) -> None:
    page = say(stage.open_page(), " \n\u200b ")
    assert stage.engine.prompts == []
    assert page.button(key="talk-menny")


def test_a_message_over_the_context_comes_back_with_the_reason(stage: Stage) -> None:
    stage.engine = FakeEngine(parrot, context_length=2500)
    page = say(stage.open_page(), "word " * 2000)
    assert "tokens too long" in page.warning[0].value.replace("\\", "")
    assert stage.engine.prompts == []
    assert not [message for message in texts(page) if "word word" in message]
    assert given_back(page)[0].startswith("word word")


def test_a_clicked_card_changes_persona_and_sliders_and_keeps_the_chat(stage: Stage) -> None:
    page = stage.open_page()
    page.button(key="talk-penny").click().run()
    assert page.selectbox(key="persona").value == "penny"
    say(page, "Hello")
    page.selectbox(key="persona").select("nora").run()
    assert "You said: Hello" in texts(page)[1]
    say(page, "And now?")
    assert "Nora" in stage.engine.prompts[1]


def test_a_persona_brings_its_parameters(stage: Stage) -> None:
    (stage.configs / "personas" / "exact.yaml").write_text(
        "name: Exact\nsystem_prompt: Be exact.\nparameters: {temperature: 0.1, max_tokens: 33, top_k: 7}\n"
    )
    page = stage.open_page()
    page.selectbox(key="persona").select("exact").run()
    assert (page.slider(key="temperature").value, page.slider(key="max_tokens").value) == (0.1, 33)
    say(page, "Hi")
    assert (stage.engine.params[0].max_tokens, stage.engine.params[0].top_k) == (33, 7)


def test_a_moved_slider_keeps_the_chat_and_is_obeyed(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    page.slider(key="temperature").set_value(0.25).run()
    assert "You said: Hello" in texts(page)[1]
    say(page, "Again")
    assert stage.engine.params[1].temperature == 0.25


def test_a_suggestion_is_sent_when_clicked(stage: Stage) -> None:
    page = stage.open_page()
    page.button(key="suggestion-0").click().run()
    assert texts(page)[0] == "Explain attention like I'm five"
    assert stage.engine.prompts


def test_a_guardrail_of_the_persona_is_added_and_cannot_be_taken_away(stage: Stage) -> None:
    (stage.configs / "personas" / "bound.yaml").write_text(
        "name: Bound\nsystem_prompt: I am bound.\nguardrails: [mistral]\n"
    )
    page = stage.open_page()
    page.selectbox(key="persona").select("bound").run()
    page.selectbox(key="guardrail").select("none").run()
    assert any("Bound adds" in caption.value for caption in page.caption)
    say(page, "Hi")
    assert "Always assist with care" in stage.engine.prompts[0]


def test_what_the_model_is_told_can_be_read(stage: Stage) -> None:
    page = stage.open_page()
    assert any("Always assist with care" in code.value and "Menny" in code.value for code in page.code)


def test_a_broken_persona_is_a_named_problem_and_the_rest_works(stage: Stage) -> None:
    (stage.configs / "personas" / "broken.yaml").write_text("name: Broken\nsystem_promt: typo\n")
    page = stage.open_page()
    problems = " ".join(warning.value for warning in page.warning).replace("\\", "")
    assert "broken.yaml" in problems
    assert "system_promt" in problems
    assert "You said: Hi" in texts(say(page, "Hi"))[1]


def test_without_any_persona_file_there_is_still_somebody_to_talk_to(stage: Stage) -> None:
    for path in (stage.configs / "personas").iterdir():
        path.unlink()
    assert "You said: Hi" in texts(say(stage.open_page(), "Hi"))[1]


def test_a_missing_model_says_how_to_get_it_and_keeps_the_chat(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    page.selectbox(key="model").select("absent").run()
    assert "You said: Hello" in texts(page)[1]
    assert any("-m menny get absent" in code.value for code in page.code)
    assert page.chat_input(key="message").disabled
    page.selectbox(key="model").select("here").run()
    say(page, "Back again")
    assert "You said: Back again" in texts(page)[3]


def test_without_any_model_the_page_says_so(stage: Stage) -> None:
    (stage.home / "models" / "little.gguf").unlink()
    page = stage.open_page()
    assert any("isn't on this machine yet" in markdown.value.replace("\\", "") for markdown in page.markdown)


def test_a_model_file_that_cannot_be_loaded_ends_the_reply_with_its_sentence(stage: Stage) -> None:
    def refuse(path: Path) -> FakeEngine:
        raise ModelError(f"{path}: the header is cut off; get the file again.")

    good, stage.load = stage.load, refuse
    page = say(stage.open_page(), "Hello")
    assert "the header is cut off" in page.error[0].value.replace("\\", "")
    stage.load = good
    say(page, "Again")
    assert "You said: Again" in texts(page)[3]


def test_an_engine_error_keeps_what_was_said(stage: Stage) -> None:
    stage.engine = FakeEngine(lambda prompt: ["Half ", "a reply", "<fail>"])
    page = say(stage.open_page(), "Hello")
    assert "Half a reply" in texts(page)[1]
    assert "no numbers" in page.error[0].value


def test_a_fault_of_our_own_is_told_without_a_traceback(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def break_down(prompt: str) -> list[str]:
        raise RuntimeError("secret detail")

    stage.engine = FakeEngine(break_down)
    page = say(stage.open_page(), "Hello")
    assert "Something went wrong inside Menny" in page.error[0].value
    assert "secret detail" not in page.error[0].value
    assert "secret detail" in caplog.text


def test_a_full_context_is_told_where_memory_ends(stage: Stage) -> None:
    stage.engine = FakeEngine(lambda prompt: ["ok"], context_length=3000)
    page = stage.open_page()
    for number in range(4):
        say(page, f"{number} " + "word " * 120)
    assert any("no longer sees" in caption.value for caption in page.caption)
    assert "0 word" not in stage.engine.prompts[-1]
    assert len(page.chat_message) == 8


def test_a_new_chat_starts_from_the_hero(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    page.button(key="new_chat").click().run()
    assert page.button(key="talk-menny")
    say(page, "Fresh")
    assert "Hello" not in stage.engine.prompts[-1].split("Menny")[-1]


def test_a_model_of_the_users_own_is_added_by_its_path(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    page = stage.open_page()
    page.text_input(key="own_model").set_value(str(tmp_path / "nowhere.gguf")).run()
    assert "no model at" in page.error[0].value.replace("\\", "")
    page.text_input(key="own_model").set_value(str(tmp_path / "mine.gguf")).run()
    say(page, "Hi")
    assert stage.loaded == [tmp_path / "mine.gguf"]


def test_the_engine_is_loaded_once_for_all_sessions(stage: Stage) -> None:
    say(stage.open_page(), "First tab")
    say(stage.open_page(), "Second tab")
    assert len(stage.loaded) == 1


def test_another_model_is_loaded_only_after_the_first_was_given_back(stage: Stage) -> None:
    (stage.home / "models" / "other.gguf").write_bytes(b"GGUF")
    engines: list[FakeEngine] = []

    def load(path: Path) -> FakeEngine:
        assert all(engine.closed for engine in engines)
        engines.append(FakeEngine(parrot))
        return engines[-1]

    stage.load = load
    page = say(stage.open_page(), "Hello")
    page.selectbox(key="model").select("other.gguf").run()
    say(page, "Hello other")
    assert len(engines) == 2
    assert "You said: Hello other" in texts(page)[3]


def test_a_reply_cannot_make_pictures_maths_or_marks(stage: Stage) -> None:
    stage.engine = FakeEngine(lambda prompt: ["![x](http://a.b/c.png) costs $5 and $10 ", "<img src=x> :red[no]"])
    reply = say(stage.open_page(), "Hi").chat_message[1].markdown[0].value
    assert "![" not in reply
    assert r"!\[x\](" in reply
    assert r" costs \$5 and \$10 \<img src=x>" in reply
    assert ":red[" not in reply


def test_an_id_of_any_letters_can_be_drawn(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))
    monkeypatch.setattr("menny.storage.rows.new_id", lambda: f"_a__b-{next(numbers)}_")
    page = say(stage.open_page(), "Hello")
    assert not page.exception
    assert "You said: Hello" in texts(page)[1]
