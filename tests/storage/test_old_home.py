"""A home that commit 56ccf7d wrote opens unchanged: what that commit read in it stands in `expected.json`.

`tools/make_home_fixture.py` made both.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from menny.config.paths import home, own_models_file
from menny.config.settings import Settings, load_settings
from menny.config.yaml_models import load_yaml
from menny.models.catalogue.entries import CatalogueFile
from menny.models.catalogue.own import add_entry
from menny.personas import load_personas
from menny.personas.files import save
from menny.personas.persona import PersonaFile, own_folder
from menny.storage import ChatStore, store_file, unpack
from tests.storage.talking import integrity, say, texts

FIXTURE = Path(__file__).parents[1] / "fixtures" / "home-56ccf7d"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))
MADE = max(chat["conversation"]["updated"] for chat in EXPECTED["chats"].values())
KILLED = "killed"  # the chat whose writer was killed over it; it came after what was expected was written down


@pytest.fixture
def old_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the home, on the day that it was made: what was deleted in it is kept for 30 days."""
    shutil.copytree(FIXTURE / "home", tmp_path / "old")
    monkeypatch.setenv("MENNY_HOME", str(tmp_path / "old"))
    monkeypatch.setattr(time, "time", lambda: MADE + 3600)
    return tmp_path / "old"


@pytest.fixture
def store(old_home: Path) -> Iterator[ChatStore]:
    opened = ChatStore(store_file())
    yield opened
    opened.close()


def as_read_then(transcript: Any) -> dict[str, Any]:
    """A chat in the names of that commit; what has been added since is empty."""
    entries = [asdict(entry) for entry in transcript.entries]
    conversation = asdict(transcript.conversation)
    assert conversation.pop("settings") == {}
    for entry in entries:
        entry["figures"] = entry.pop("stats")
        added = (entry.pop("thought"), entry["figures"].pop("thought_tokens"), entry["figures"].pop("thought_seconds"))
        assert added == ("", 0, 0.0)
    found = {"conversation": conversation, "entries": entries, "active": transcript.active}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def test_every_chat_is_there_with_its_alternatives_and_all_that_is_kept_beside_a_message(store: ChatStore) -> None:
    assert store.notice == ""
    found = {chat.id: as_read_then(store.transcript(chat.id)) for chat in store.conversations() if chat.id != KILLED}
    assert found == EXPECTED["chats"]
    assert list(found) == list(EXPECTED["chats"])


def test_the_search_finds_what_it_found(store: ChatStore) -> None:
    for query, expected in EXPECTED["search"].items():
        hits = [[hit.conversation.id, hit.entry, hit.excerpt] for hit in store.search(query)]
        assert json.loads(json.dumps(hits)) == expected, query


def test_what_was_deleted_can_be_brought_back(store: ChatStore) -> None:
    (deleted,) = EXPECTED["deleted"]
    store.undelete(deleted)
    assert texts(store, deleted) == ["A deleted chat", "It can come back."]


def test_a_reply_that_a_killed_process_left_can_go_on(store: ChatStore) -> None:
    _, reply = store.path(KILLED)
    assert (reply.text, reply.status, reply.can_go_on) == ("One, two, three", "interrupted", True)
    store.reopen(reply.id)
    store.finish(reply.id, "One, two, three, four.", "stop")
    assert texts(store, KILLED) == ["Count to ten, will you?", "One, two, three, four."]


def test_it_is_used_on_and_stays_one_whole_file(store: ChatStore) -> None:
    chat = say(store, "A new question", "A new answer")
    store.close()
    assert integrity(store_file()) == "ok"
    again = ChatStore(store_file())
    assert texts(again, chat) == ["A new question", "A new answer"]
    assert len(again.conversations()) == len(EXPECTED["chats"]) + 2
    again.close()


def test_its_exported_chat_and_its_archive_are_imported_as_they_were() -> None:
    for name in ("chat.json", "archive.zip"):
        unpacked = unpack(name, (FIXTURE / name).read_bytes())
        elsewhere = ChatStore()
        elsewhere.merge(unpacked.transcripts)
        found = {chat.id: as_read_then(elsewhere.transcript(chat.id)) for chat in elsewhere.conversations()}
        assert found.items() <= EXPECTED["chats"].items()
        assert len(found) == (1 if name == "chat.json" else len(EXPECTED["chats"]))
    for name, content in unpacked.files.items():
        assert content == (FIXTURE / "home" / name).read_bytes()
    assert sorted(name.split("/")[0] for name in unpacked.files) == ["images", "personas", "personas"]


def test_importing_its_archive_into_it_adds_nothing(store: ChatStore) -> None:
    assert store.merge(unpack("archive.zip", (FIXTURE / "archive.zip").read_bytes()).transcripts) == 0


def as_then(entry: Any) -> dict[str, Any]:
    """An entry of the catalogue in the keys of that commit; what has been added since is at its default."""
    found: dict[str, Any] = entry.model_dump(exclude_none=True)
    assert found.pop("recommend") is False
    return found


def test_personas_models_and_settings_say_what_they_said(old_home: Path) -> None:
    personas, errors = load_personas(own_folder(), home())
    assert [str(error) for error in errors] == EXPECTED["problems"] == []
    read = [json.loads(persona.model_dump_json()) for persona in personas]
    assert [persona["id"] for persona in read] == [persona["id"] for persona in EXPECTED["personas"]]
    for persona, expected in zip(read, EXPECTED["personas"], strict=True):
        assert persona["memory"].pop("all_chats") is False  # added since
        assert {key: persona[key] for key in expected} == expected
    models = load_yaml(own_models_file(), CatalogueFile).models
    assert [as_then(entry) for entry in models] == EXPECTED["models"]
    assert load_settings() == Settings(**EXPECTED["settings"])


def test_changing_a_persona_and_the_models_keeps_the_comments(old_home: Path) -> None:
    file = old_home / "personas" / "flora.yaml"
    before = file.read_text(encoding="utf-8")
    persona = load_yaml(file, PersonaFile)
    save(own_folder(), "flora", persona.model_copy(update={"tagline": "Knows every flower"}), before, before)
    assert file.read_text(encoding="utf-8") == before.replace("Knows every weed by name", "Knows every flower")
    add_entry(own_models_file(), id="third", name="Third", path="third.gguf")
    models = load_yaml(own_models_file(), CatalogueFile).models
    assert [as_then(entry) for entry in models][:2] == EXPECTED["models"]
    changed = own_models_file().read_text(encoding="utf-8")
    assert changed.startswith("# Models of my own; the second is on the machine in the cellar.\n")
    assert "id: little  # for trying things out\n" in changed.replace("    #", "  #")
