"""The page of personas as its user meets it: somebody is made, changed, copied, deleted, taken in and given out."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from streamlit.testing.v1 import AppTest

from menny.config.paths import PROJECT
from menny.config.yaml_models import load_yaml
from menny.errors import ConfigError
from menny.personas.persona import PersonaFile
from menny.personas.profiles import ProfileFile
from menny.ui.personas.profile_store import copy_to_profiles
from tests.personas import card_files as cards
from tests.ui.conftest import Stage, go, say

PROMPT = "You are Basil, an old gardener who has seen it all wilt."


@pytest.fixture
def personas(stage: Stage) -> AppTest:
    return go(stage.open_page(), "personas")


def own_file(stage: Stage, name: str = "basil") -> Path:
    return stage.home / "personas" / f"{name}.yaml"


def make_basil(page: AppTest) -> AppTest:
    page.button(key="new_persona").click().run()
    page.text_input(key="persona_name").set_value("Basil").run()
    page.text_area(key="persona_system_prompt").set_value(PROMPT).run()
    return page.button(key="save_persona").click().run()


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    uploader = next(one for one in page.file_uploader if str(one.key).startswith("import_"))
    return uploader.set_value([(name, data, "application/octet-stream") for name, data in files]).run()


def shown(page: AppTest) -> str:
    kinds = ("markdown", "error", "warning", "caption", "code")
    return "\n".join(str(part.value) for kind in kinds for part in page.get(kind)).replace("\\", "")


def test_a_persona_made_in_the_page_answers_and_its_file_passes_the_schema(stage: Stage, personas: AppTest) -> None:
    page = make_basil(personas)
    assert not page.exception
    assert "Basil was saved." in shown(page)
    data = yaml.safe_load(own_file(stage).read_text())
    schema = json.loads((PROJECT / "configs" / "schemas" / "persona.json").read_text())
    Draft202012Validator(schema).validate(data)
    assert data == {"name": "Basil", "system_prompt": PROMPT}
    page.button(key="chat-with-basil").click().run()
    assert page.selectbox(key="persona").value == "basil"
    say(go(page, ""), "Hi")
    assert PROMPT in stage.engine.prompts[0]
    assert stage.engine.prompts[0].index("Always assist with care") < stage.engine.prompts[0].index(PROMPT)


def test_every_field_is_written_and_comes_back_into_the_editor(stage: Stage, personas: AppTest) -> None:
    page = personas
    page.button(key="new_persona").click().run()
    page.text_input(key="persona_name").set_value("Basil")
    page.text_input(key="persona_tagline").set_value("Gardener")
    page.text_area(key="persona_system_prompt").set_value(PROMPT)
    page.text_area(key="persona_greeting").set_value("Mind the seedlings.\n\nWhat is it?")
    page.text_area(key="persona_suggestions").set_value("Why?\n\n What grows in the shade? ")
    page.multiselect(key="persona_guardrails").set_value(["llama-2"])
    page.number_input(key="persona_temperature").set_value(1.1)
    page.number_input(key="persona_max_tokens").set_value(99)
    page.number_input(key="persona_order").set_value(2)
    page.selectbox(key="persona_strategy").select("turns").run()
    page.number_input(key="persona_turns").set_value(3)
    page.button(key="add_example").click().run()
    page.button(key="add_example").click().run()
    page.text_area(key="persona_user_1").set_value("My roses look sad.")
    page.text_area(key="persona_assistant_1").set_value("Water them.").run()
    page.button(key="talk-picture-hugo").click().run()
    page.button(key="save_persona").click().run()
    assert load_yaml(own_file(stage), PersonaFile).model_dump(mode="json", exclude_defaults=True) == {
        "name": "Basil",
        "tagline": "Gardener",
        "avatar": "images/hugo-avatar.png",
        "system_prompt": PROMPT,
        "greeting": "Mind the seedlings.\n\nWhat is it?",
        "suggestions": ["Why?", "What grows in the shade?"],
        "guardrails": ["llama-2"],
        "examples": [{"user": "My roses look sad.", "assistant": "Water them."}],
        "parameters": {"temperature": 1.1, "max_tokens": 99},
        "memory": {"strategy": "turns", "turns": 3},
        "order": 2,
    }
    before = own_file(stage).read_text()
    page.button(key="edit-basil").click().run()
    assert page.text_area(key="persona_user_0").value == "My roses look sad."
    page.button(key="save_persona").click().run()
    assert own_file(stage).read_text() == before


def test_the_preview_shows_what_is_told_guardrail_first_and_counts_it(stage: Stage, personas: AppTest) -> None:
    page = personas
    page.button(key="new_persona").click().run()
    page.text_input(key="persona_name").set_value("Basil")
    page.text_area(key="persona_system_prompt").set_value("You are {{char}}.").run()
    told = page.code[0].value
    assert told.startswith("Always assist with care")
    assert told.endswith("\n\nYou are Basil.")
    assert "can't be counted" in shown(page)  # the stage's model file is empty
    (stage.home / "models" / "little.gguf").unlink()
    page.run()
    assert "No model is here" in shown(page)


def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(stage: Stage, personas: AppTest) -> None:
    page = personas
    page.button(key="new_persona").click().run()
    page.text_input(key="persona_name").set_value("nora")
    page.text_area(key="persona_greeting").set_value("Hello").run()
    page.number_input(key="persona_top_p").set_value(0.0).run()
    page.button(key="add_example").click().run()
    page.text_area(key="persona_user_0").set_value("Only a question").run()
    page.text_area(key="persona_suggestions").set_value("x" * 101).run()
    page.button(key="save_persona").click().run()
    red = [markdown.value.replace("\\", "") for markdown in page.markdown if ":red[" in markdown.value]
    for part in (
        "There is already a persona called Nora",
        "This can't be empty.",
        "more than 0",
        "at most 100 characters",
    ):
        assert any(part in message for message in red), (part, red)
    assert len(red) == 5
    assert page.text_area(key="persona_greeting").value == "Hello"
    assert page.text_area(key="persona_user_0").value == "Only a question"
    assert not own_file(stage, "nora").exists()
    go(page, "")
    go(page, "personas")
    assert page.text_area(key="persona_greeting").value == "Hello"


def test_a_preset_is_edited_as_a_copy_of_ones_own_and_can_be_reset(stage: Stage, personas: AppTest) -> None:
    page = personas
    page.button(key="edit-menny").click().run()
    assert "is built in" in shown(page)
    page.text_input(key="persona_tagline").set_value("Mine now").run()
    page.button(key="save_persona").click().run()
    preset, own = (stage.configs / "personas" / "menny.yaml").read_text(), own_file(stage, "menny").read_text()
    assert [line for line in own.splitlines() if line not in preset.splitlines()] == ["tagline: Mine now"]
    assert "Mine now" in shown(page)
    page.menu_button(key="more-menny").click("Reset").run()
    assert "Mine now" not in shown(page)
    assert not own_file(stage, "menny").exists()
    page.button(key="undo").click().run()
    assert own_file(stage, "menny").read_text() == own


def test_a_deleted_persona_comes_back_by_undo_and_presets_cannot_be_deleted(stage: Stage, personas: AppTest) -> None:
    page = make_basil(personas)
    text = own_file(stage).read_text()
    assert "Delete" not in page.menu_button(key="more-nora").options
    page.menu_button(key="more-basil").click("Delete").run()
    assert not own_file(stage).exists()
    assert "Basil was deleted." in shown(page)
    page.button(key="undo").click().run()
    assert own_file(stage).read_text() == text


def test_a_copy_has_a_name_and_a_file_of_its_own(stage: Stage, personas: AppTest) -> None:
    page = personas
    page.menu_button(key="more-nora").click("Duplicate").run()
    assert page.text_input(key="persona_name").value == "Nora 2"
    page.button(key="save_persona").click().run()
    copy, nora = (
        load_yaml(path, PersonaFile) for path in (own_file(stage, "nora-2"), stage.configs / "personas/nora.yaml")
    )
    assert copy == nora.model_copy(update={"name": "Nora 2"})


def test_a_file_changed_meanwhile_is_noticed_and_both_can_be_kept(stage: Stage, personas: AppTest) -> None:
    page = make_basil(personas)
    page.button(key="edit-basil").click().run()
    own_file(stage).write_text(own_file(stage).read_text() + "# by hand\ntagline: by hand\n")
    page.text_area(key="persona_greeting").set_value("Mine").run()
    page.button(key="save_persona").click().run()
    assert "changed on disk" in shown(page)
    assert "by hand" in own_file(stage).read_text()
    page.button(key="save_persona").click().run()
    saved = load_yaml(own_file(stage), PersonaFile)
    assert (saved.greeting, saved.tagline) == ("Mine", "")
    assert "# by hand" in own_file(stage).read_text()


def test_a_new_example_is_empty_also_after_another_was_removed(personas: AppTest) -> None:
    page = personas
    page.button(key="edit-menny").click().run()
    rows = [str(area.key) for area in page.text_area if str(area.key).startswith("persona_user_")]
    last = rows[-1].rpartition("_")[2]
    assert page.text_area(key=f"persona_user_{last}").value
    page.button(key=f"remove_example_{last}").click().run()
    page.button(key="add_example").click().run()
    assert page.text_area(key=f"persona_user_{last}").value == ""
    assert page.text_area(key=f"persona_assistant_{last}").value == ""


def test_left_out_changes_can_be_brought_back(personas: AppTest) -> None:
    page = personas
    page.button(key="edit-nora").click().run()
    page.button(key="cancel_persona").click().run()
    assert "undo" not in [button.key for button in page.button]  # nothing was changed
    page.button(key="edit-nora").click().run()
    page.text_area(key="persona_greeting").set_value("Changed").run()
    page.button(key="cancel_persona").click().run()
    page.button(key="undo").click().run()
    assert page.text_area(key="persona_greeting").value == "Changed"


def test_a_card_is_taken_in_with_its_picture_and_talked_to(stage: Stage, personas: AppTest) -> None:
    file = cards.as_png({"ccv3": cards.packed(cards.V3)})
    page = upload(personas, ("seraphina.png", file))
    assert "Imported: Seraphina." in shown(page)
    persona = load_yaml(own_file(stage, "seraphina"), PersonaFile)
    assert persona.avatar
    assert (stage.home / persona.avatar).read_bytes().startswith(b"\x89PNG")
    page.button(key="chat-with-latest").click().run()
    say(go(page, ""), "Hi")
    assert "Sera guards a forest" in stage.engine.prompts[0]
    assert stage.engine.prompts[0].index("Always assist with care") < stage.engine.prompts[0].index("Sera guards")


def test_several_files_are_taken_in_each_whole_or_not_at_all(stage: Stage, personas: AppTest) -> None:
    bad = cards.as_json({**cards.V2, "data": {**cards.V2["data"], "description": 5}})
    page = upload(personas, ("a.json", cards.as_json(cards.V1)), ("bad.json", bad), ("b.json", cards.as_json(cards.V2)))
    assert "Imported: Seraphina, Seraphina 2." in shown(page)
    assert "bad.json couldn't be imported: its description must be text" in shown(page)
    assert sorted(path.name for path in (stage.home / "personas").iterdir()) == ["seraphina-2.yaml", "seraphina.yaml"]
    page.button(key="undo").click().run()
    assert list((stage.home / "personas").iterdir()) == []


def test_a_persona_is_given_out_as_a_card_of_both_versions(personas: AppTest) -> None:
    page = upload(personas, ("a.json", cards.as_json(cards.V2)))
    page.menu_button(key="more-seraphina").click("Export").run()
    assert not page.exception
    names = {button.label for button in page.get("download_button")}
    assert names == {"Card as PNG", "Card as JSON", "Menny's YAML"}


def test_a_broken_file_of_ones_own_is_named_and_the_rest_works(stage: Stage, personas: AppTest) -> None:
    own_file(stage).parent.mkdir(parents=True)
    own_file(stage).write_text("name: Basil\nsystem_promt: typo\n")
    page = go(personas, "personas")
    assert "personas/basil.yaml, line 2: unknown key 'system_promt'" in shown(page)
    page = make_basil(page)
    assert "typo" in own_file(stage).read_text()
    assert load_yaml(own_file(stage, "basil-2"), PersonaFile).name == "Basil"


@pytest.mark.parametrize("said", [{"guardrails": ["gone"]}, {"parameters": {"temperature": 0.73, "top_p": 0.005}}])
def test_an_odd_file_can_be_opened_and_saved_unchanged(stage: Stage, personas: AppTest, said: dict[str, Any]) -> None:
    own_file(stage).parent.mkdir(parents=True)
    own_file(stage).write_text(f"name: Basil\nsystem_prompt: x\n{json.dumps(said)[1:-1]}\n")
    page = go(personas, "personas")
    page.button(key="edit-basil").click().run()
    page.button(key="save_persona").click().run()
    assert not page.exception
    assert json.dumps(said)[1:-1] in own_file(stage).read_text()


def test_after_the_chosen_persona_is_deleted_the_chat_goes_on_with_another(stage: Stage, personas: AppTest) -> None:
    page = make_basil(personas)
    page.button(key="chat-with-basil").click().run()
    say(go(page, ""), "Hi")
    go(page, "personas").menu_button(key="more-basil").click("Delete").run()
    go(page, "")
    assert not page.exception
    say(page, "Still there?")
    assert "Still there?" in stage.engine.prompts[-1]
    assert PROMPT not in stage.engine.prompts[-1]


def test_an_import_says_what_it_left_out_and_a_file_that_is_none_does_not_stop_the_others(personas: AppTest) -> None:
    heavy = {"spec": "chara_card_v2", "data": {**cards.V1, "character_book": {"entries": ["x" * 200_000]}}}
    page = upload(personas, ("b.json", b"{}"), ("a.json", cards.as_json(heavy)))
    assert not page.exception
    assert "Imported: Seraphina." in shown(page)
    assert "Seraphina: its lorebook was left out, as it takes 200.0 kB." in shown(page)
    assert "b.json couldn't be imported: it isn't a character card" in shown(page)
    page.button(key="edit-seraphina").click().run()
    assert "lorebook" not in shown(page)


def test_other_greetings_are_added_changed_and_removed_and_a_long_one_is_named(stage: Stage, personas: AppTest) -> None:
    page = make_basil(personas)
    page.button(key="edit-basil").click().run()
    for _ in range(3):
        page.button(key="add_other").click().run()
    page.text_area(key="persona_other_1").set_value("x" * 40_000)
    page.text_area(key="persona_other_2").set_value("Mind the frost.").run()
    page.button(key="save_persona").click().run()
    assert list(page.session_state["persona_desk"].draft.errors) == ["other_1"]
    page.button(key="remove_other_1").click().run()
    page.button(key="save_persona").click().run()
    assert yaml.safe_load(own_file(stage).read_text())["alternate_greetings"] == ["Mind the frost."]
    page.button(key="edit-basil").click().run()
    assert page.text_area(key="persona_other_0").value == "Mind the frost."
    page.button(key="remove_other_0").click().run()
    page.button(key="save_persona").click().run()
    assert yaml.safe_load(own_file(stage).read_text())["alternate_greetings"] == []


def test_greetings_of_a_card_are_in_the_editor_and_stay_its_own_until_changed(stage: Stage, personas: AppTest) -> None:
    page = upload(personas, ("sera.json", json.dumps(cards.V2).encode()))
    [file] = (stage.home / "personas").glob("*.yaml")
    page.button(key=f"edit-{file.stem}").click().run()
    assert page.text_area(key="persona_other_1").value == "Who is there?"
    page.text_input(key="persona_tagline").set_value("Changed").run()
    page.button(key="save_persona").click().run()
    assert "alternate_greetings" not in yaml.safe_load(file.read_text())
    page.button(key=f"edit-{file.stem}").click().run()
    page.text_area(key="persona_other_1").set_value("Who?").run()
    page.button(key="save_persona").click().run()
    assert yaml.safe_load(file.read_text())["alternate_greetings"] == ["Good morning.", "Who?"]


def test_a_persona_is_copied_to_a_profile_and_back(stage: Stage, personas: AppTest) -> None:
    page = make_basil(personas)
    file = own_file(stage)
    file.write_text(file.read_text().replace("You are Basil", "You are {{char}}, who likes {{user}}"))
    page.run()
    page.menu_button(key="more-basil").click("Copy to my profiles").run()
    assert "Basil is one of your profiles now." in shown(page)
    profile = load_yaml(stage.home / "profiles" / "basil.yaml", ProfileFile)
    assert profile.name == "Basil"
    assert profile.description.startswith("You are {{user}}, who likes {{char}}")
    page = stage.open_page()
    page.session_state["profile_open"] = "basil"
    page.run()
    page.text_area(key="profile_description").set_value("{{user}} sails.")
    page.button(key="profile_copy").click().run()
    assert not page.exception
    copied = load_yaml(own_file(stage, "basil-2"), PersonaFile)
    assert (copied.name, copied.system_prompt) == ("Basil 2", "{{char}} sails.")
    with pytest.raises(ConfigError, match="room for 8,000 characters, and this description has 9,000"):
        copy_to_profiles(PersonaFile(name="Long", system_prompt="x" * 9000))
