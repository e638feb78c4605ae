"""Lorebooks in the page as their user meets them: taken in, made, edited, tried, and at work in a chat."""

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from menny.lorebooks.files import load_lorebook, save_lorebook
from menny.lorebooks.lorebook import Lorebook, LoreEntry
from menny.storage import pack, unpack
from menny.ui.shared.options import own_lorebooks
from tests.personas import card_files as cards
from tests.ui.conftest import Stage, go, say

MOSS = LoreEntry(name="The moss", keys=("moss",), content="The moss glows at night.")
LAW = LoreEntry(content="Magic is weak here.", constant=True)
FAIR = LoreEntry(keys=("fair",), content="The fair is where the moss grows.")


@pytest.fixture(autouse=True)
def _anew() -> None:
    own_lorebooks.clear()


def put(stage: Stage, book_id: str, *entries: LoreEntry, **values: Any) -> None:
    save_lorebook(
        stage.home / "lorebooks" / f"{book_id}.yaml", Lorebook(name=book_id.title(), entries=entries, **values)
    )


def book(stage: Stage, book_id: str) -> Lorebook:
    return load_lorebook(stage.home / "lorebooks" / f"{book_id}.yaml")


def shelf(stage: Stage) -> AppTest:
    page = go(stage.open_page(), "personas")
    page.session_state["shelves"] = "Lorebooks"
    return page.run()


def shown(page: AppTest) -> str:
    kinds = ("title", "markdown", "error", "warning", "caption", "text")
    return "\n".join(str(part.value) for kind in kinds for part in page.get(kind)).replace("\\", "")


def test_a_book_is_made_an_entry_written_and_its_key_called_up_in_a_chat(stage: Stage) -> None:
    page = shelf(stage)
    page.button(key="new_lorebook").click().run()
    page.button(key="new_entry").click().run()
    page.button(key="save_entry").click().run()
    assert "Write what the model should know." in shown(page)
    assert book(stage, "new-lorebook").entries == ()
    page.text_area(key="lore_keys").set_value("moss\n\n/(/\n")
    page.text_area(key="lore_content").set_value(" The moss glows. ").run()
    page.button(key="save_entry").click().run()
    assert not page.exception
    kept = book(stage, "new-lorebook").entries[0]
    assert (kept.keys, kept.content) == (("moss", "/(/"), "The moss glows.")
    page.text_input[0].set_value("")
    page.button(key="save_lorebook").click().run()
    assert "Name: This can't be empty." in shown(page)
    page.text_input[0].set_value("New lorebook")
    page.toggle[1].set_value(True)
    page.button(key="save_lorebook").click().run()
    assert not page.exception
    assert book(stage, "new-lorebook").everywhere
    page = say(go(page, ""), "Is the moss green?")
    assert "[Background:\nThe moss glows.]\n\nIs the moss green?" in stage.engine.prompts[-1]
    assert "Key “moss” · New lorebook" in shown(page)


def test_entries_are_edited_deleted_and_brought_back(stage: Stage) -> None:
    put(stage, "glade", MOSS, FAIR)
    page = shelf(stage)
    page.button(key="edit-lore-glade").click().run()
    page.button(key="entry-0").click().run()
    assert page.text_area(key="lore_content").value == MOSS.content
    page.toggle(key="lore_constant").set_value(True).run()
    page.button(key="save_entry").click().run()
    assert book(stage, "glade").entries == (MOSS.model_copy(update={"constant": True}), FAIR)
    page.button(key="entry-1").click().run()
    page.button(key="delete_entry").click().run()
    assert len(book(stage, "glade").entries) == 1
    page.button(key="undo").click().run()
    assert book(stage, "glade").entries[1] == FAIR
    page.button(key="entry-1").click().run()
    page.button(key="cancel_entry").click().run()
    assert "discarded" not in shown(page)  # nothing was changed
    page.button(key="entry-1").click().run()
    page.text_area(key="lore_content").set_value("No fair.").run()
    page.button(key="cancel_entry").click().run()
    assert "Your changes were discarded." in shown(page)
    page.button(key="undo").click().run()
    assert page.text_area(key="lore_content").value == "No fair."
    put(stage, "glade", FAIR, MOSS)
    page.text_area(key="lore_content").set_value("Mine.").run()
    page.button(key="save_entry").click().run()
    assert "changed elsewhere" in shown(page)
    assert page.text_area(key="lore_content").value == "Mine."
    assert book(stage, "glade").entries == (FAIR, MOSS)
    assert not page.exception


def test_a_typed_text_shows_what_it_calls_up_and_keys_that_never_match_are_named(stage: Stage) -> None:
    put(stage, "glade", MOSS, FAIR, LoreEntry(name="All", keys=("/.*/",), content="x", probability=40))
    later = LoreEntry(content="It is hot.", constant=True, delay_until_recursion=True)
    put(stage, "names", LoreEntry(keys=("{{char}}'s hat",), content="It is black."), LAW, later)
    page = shelf(stage)
    page.button(key="edit-lore-glade").click().run()
    assert "All: “/.*/”, as it matches every text" in shown(page)
    page.text_area(key="lore_trial").set_value("We go to the fair.").run()
    assert "**2 entries**" in shown(page)
    assert "Key “moss”, in “fair”" in shown(page)
    page.text_input(key="lore_search").set_value("glows").run()
    assert [button.key for button in page.button if str(button.key).startswith("entry-")] == ["entry-0"]
    page.button(key="close_lorebook").click().run()
    page.button(key="edit-lore-names").click().run()
    page.text_area(key="lore_trial").set_value("Where is Menny's hat?").run()
    assert "**2 entries**" in shown(page)
    assert "Always there once other entries are called up" in shown(page)
    assert not page.exception


def test_the_instructions_hold_what_is_always_there(stage: Stage) -> None:
    put(stage, "law", LAW, everywhere=True)
    page = stage.open_page()
    assert "Magic is weak here." in page.code[0].value
    say(page, "Hi")
    assert page.code[0].value in stage.engine.prompts[-1]
    assert "Magic is weak here." in page.code[0].value


def test_a_large_book_is_paged_and_a_search_reaches_all_of_it(stage: Stage) -> None:
    entries = [LoreEntry(keys=(f"word{number}",), content=f"About {number}.") for number in range(10_000)]
    put(stage, "large", *entries)
    page = shelf(stage)
    page.button(key="edit-lore-large").click().run()
    assert "10,000 entries" in shown(page)
    assert len([button for button in page.button if str(button.key).startswith("entry-")]) == 25
    page.text_input(key="lore_search").set_value("word9999").run()
    assert [button.key for button in page.button if str(button.key).startswith("entry-")] == ["entry-9999"]


def test_files_are_taken_in_and_deleted_and_what_cannot_be_read_is_told(stage: Stage) -> None:
    page = shelf(stage)
    world = {"entries": {"0": {"uid": 0, "key": ["moss", ""], "content": "Glows.", "order": 5}}}
    uploader = next(one for one in page.file_uploader if str(one.key).startswith("lore_import"))
    files = [("World.json", json.dumps(world).encode()), ("bad.json", b"{"), ("card.json", cards.as_json(cards.V2))]
    uploader.set_value([(name, data, "application/json") for name, data in files]).run()
    assert "Imported: World, Glade." in shown(page)
    assert "World: an empty key was left out." in shown(page)
    assert "bad.json couldn't be imported: the file isn't valid JSON." in shown(page)
    assert book(stage, "world").entries[0].order == 5
    page.button(key="undo").click().run()
    assert own_lorebooks().load() == ({}, [])
    assert not page.exception


def test_a_card_brings_its_lorebook_and_an_archive_carries_it(
    stage: Stage, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = go(stage.open_page(), "personas")
    uploader = next(one for one in page.file_uploader if str(one.key).startswith("import_"))
    uploader.set_value([("s.json", cards.as_json(cards.V2), "application/json")]).run()
    assert book(stage, "seraphina").name == "Glade"
    page.button(key="edit-seraphina").click().run()
    assert page.multiselect(key="persona_lorebooks").value == ["seraphina"]
    page.button(key="save_persona").click().run()
    page.button(key="chat-with-seraphina").click().run()
    page = say(go(page, ""), "Is that moss?")
    assert "[Background:\nThe moss glows.]" in stage.engine.prompts[-1]
    saved = unpack("all.zip", pack([], own_lorebooks().to_archive())).files
    kept = book(stage, "seraphina")
    monkeypatch.setenv("MENNY_HOME", str(tmp_path / "elsewhere"))
    with own_lorebooks().from_archive(saved) as ids:
        assert ids == ["seraphina"]
    assert own_lorebooks().load()[0] == {"seraphina": kept}
    with own_lorebooks().from_archive(saved) as ids:
        assert ids == []


def test_a_lorebook_that_is_gone_is_named(stage: Stage) -> None:
    (stage.home / "personas").mkdir(parents=True)
    (stage.home / "personas" / "basil.yaml").write_text("name: Basil\nsystem_prompt: x\nlorebooks: [glade]\n")
    page = stage.open_page()
    assert "Basil names the lorebook 'glade', which isn't there or can't be read." in shown(page)


def test_a_chat_has_lorebooks_of_its_own(stage: Stage) -> None:
    put(stage, "glade", MOSS)
    page = stage.open_page()
    say(page, "What is moss?")
    assert "The moss glows" not in stage.engine.prompts[-1]
    page.multiselect(key="lorebooks").set_value(["glade"]).run()
    say(page, "And the moss here?")
    assert "[Background:\nThe moss glows at night.]" in stage.engine.prompts[-1]
    page.button(key="new_chat").click().run()
    assert page.multiselect(key="lorebooks").value == []
    assert not page.exception
