"""What is chosen and then removed: the page says so, and no other model answers unasked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from menny.config.paths import own_models_file
from menny.ui.session import KEY
from tests.ui.conftest import PAGE, Stage, go, say, texts

ERROR = "is no longer on this machine. Choose another model in the settings."


def shown(page: AppTest) -> str:
    kinds = ("markdown", "warning", "error")
    return "\n".join(str(part.value) for kind in kinds for part in page.get(kind)).replace("\\", "")


def add_file(stage: Stage, tmp_path: Path) -> Path:
    place = stage.home / "models" / "other.gguf"
    place.write_bytes(b"GGUF")
    return place


def add_folder(stage: Stage, tmp_path: Path) -> Path:
    place = stage.home / "models" / "other.gguf"  # a folder may be called so too
    place.mkdir()
    (place / "weights.gguf").write_bytes(b"GGUF")
    return place


def add_entry(stage: Stage, tmp_path: Path) -> Path:
    (tmp_path / "far.gguf").write_bytes(b"GGUF")
    own_models_file().write_text(f"models: [{{id: other.gguf, name: other.gguf, path: {tmp_path / 'far.gguf'}}}]\n")
    return own_models_file()


def add_server(stage: Stage, tmp_path: Path) -> Path:
    own_models_file().write_text("models: [{id: other.gguf, name: other.gguf, server: 'http://127.0.0.1:9/v1'}]\n")
    return own_models_file()


def remove(place: Path) -> None:
    shutil.rmtree(place) if place.is_dir() else place.unlink()


@pytest.mark.parametrize("add", [add_file, add_folder, add_entry, add_server])
def test_a_model_removed_while_in_use_is_told_and_the_user_chooses(
    stage: Stage, tmp_path: Path, add: Callable[[Stage, Path], Path]
) -> None:
    place = add(stage, tmp_path)
    page = stage.open_page()
    page.selectbox(key="model").select("other.gguf").run()
    say(page, "Hello")
    assert len(stage.loaded) == 1

    remove(place)
    page.run()
    assert f"other.gguf {ERROR}" in shown(page)
    assert page.selectbox(key="model").value == "other.gguf"
    assert page.chat_input(key="message").disabled
    page.session_state[KEY].ask("Are you another one?")
    page.run()
    assert (len(stage.loaded), len(stage.engine.prompts)) == (1, 1)

    page.selectbox(key="model").select("here").run()
    page.run()
    assert ERROR not in shown(page)
    assert "other.gguf" not in page.selectbox(key="model").options
    assert stage.loaded[-1] == stage.home / "models" / "little.gguf"


def test_a_model_put_back_is_used_again(stage: Stage, tmp_path: Path) -> None:
    page = stage.open_page()
    add_file(stage, tmp_path)
    page.run()
    page.selectbox(key="model").select("other.gguf").run()
    remove(stage.home / "models" / "other.gguf")
    page.run()
    add_file(stage, tmp_path)
    page.run()
    assert ERROR not in shown(page)
    say(page, "Hello")
    assert stage.loaded == [stage.home / "models" / "other.gguf"]


def test_a_catalogue_model_whose_files_are_removed_stays_chosen_and_says_how_to_get_it(stage: Stage) -> None:
    add = stage.home / "models" / "other.gguf"
    add.write_bytes(b"GGUF")
    page = say(stage.open_page(), "Hello")
    (stage.home / "models" / "little.gguf").unlink()
    page.run()
    assert page.selectbox(key="model").value == "here"
    assert "Here isn't on this machine yet." in shown(page)
    assert page.chat_input(key="message").disabled


def test_a_model_removed_on_the_page_of_models_is_told_in_the_chat(stage: Stage, tmp_path: Path) -> None:
    add_file(stage, tmp_path)
    page = stage.open_page()
    page.selectbox(key="model").select("other.gguf").run()
    go(page, "models").button(key="remove-now-other.gguf").click().run()
    assert f"other.gguf {ERROR}" in shown(go(page, ""))


def test_a_chat_whose_model_was_removed_says_who_answers_instead(stage: Stage, tmp_path: Path) -> None:
    place = add_file(stage, tmp_path)
    page = stage.open_page()
    page.selectbox(key="model").select("other.gguf").run()
    chat = say(page, "Hello").session_state[KEY].chat.id
    remove(place)
    opened = AppTest.from_file(str(PAGE), default_timeout=60)
    opened.query_params["chat"] = chat
    opened.run()
    assert "other.gguf wrote this chat and isn't on this machine. Here answers from here on." in shown(opened)
    assert "You said: Again" in texts(say(opened, "Again"))[3]
    assert "wrote this chat" not in shown(opened)


def test_a_stopped_reply_is_not_continued_by_another_model(stage: Stage, tmp_path: Path) -> None:
    place = add_file(stage, tmp_path)
    stage.engine.answer = lambda prompt: ["Half ", "<fail>"]
    page = stage.open_page()
    page.selectbox(key="model").select("other.gguf").run()
    chat = say(page, "Hello").session_state[KEY].chat
    remove(place)
    page.selectbox(key="model").select("here").run()
    page.button(key=f"continue-{chat.entries[1].id}").click().run()
    assert "other.gguf began this reply and isn't on this machine." in shown(page)
    assert len(stage.engine.prompts) == 1


def test_a_persona_removed_while_in_use_is_told(stage: Stage) -> None:
    file = stage.configs / "personas" / "basil.yaml"
    file.write_text("name: Basil\nsystem_prompt: I am Basil.\n")
    page = stage.open_page()
    page.selectbox(key="persona").select("basil").run()
    file.unlink()
    page.run()
    assert page.selectbox(key="persona").value == "menny"
    assert "Basil is no longer here, so Menny answers." in shown(page)
    say(page, "Hello")
    assert "no longer here" not in shown(page)
