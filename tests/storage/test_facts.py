"""What personas remember is kept by persona, once each, and survives a restart, an edit and a damaged file."""

from dataclasses import replace
from pathlib import Path

import pytest

from menny.errors import StorageError
from menny.storage import ChatStore, Fact
from menny.storage.facts import LONGEST
from tests.storage.talking import say
from tests.storage.test_damage import by_sql, use


def texts(facts: list[Fact]) -> list[str]:
    return [fact.text for fact in facts]


def test_facts_are_kept_by_persona_and_once_each(tmp_path: Path) -> None:
    store = ChatStore(tmp_path / "chats.db")
    added = store.facts.add("nora", ["Has a cat.", " \n", "has a cat", "Lives in\nGhent"], "model", "chat", "message")
    assert texts(added) == ["Has a cat.", "Lives in Ghent"]
    store.facts.add("menny", ["Has a cat."])
    store.close()
    again = ChatStore(tmp_path / "chats.db")
    assert again.facts.of("nora") == added
    assert (added[0].origin, added[0].chat, added[0].message) == ("model", "chat", "message")
    assert len(again.facts.all()) == 3
    again.close()


def test_a_fact_is_edited_and_forgotten(store: ChatStore) -> None:
    first, second = store.facts.add("nora", ["Has a cat.", "Lives in Ghent."], "model")
    store.facts.edit(first.id, "Has two cats.")
    store.facts.edit(first.id, "  ")
    store.facts.forget(second.id)
    (kept,) = store.facts.of("nora")
    assert (kept.text, kept.origin) == ("Has two cats.", "user")
    store.facts.add("menny", ["Stays."])
    store.facts.forget_all("nora")
    assert texts(store.facts.all()) == ["Stays."]


def test_a_long_fact_is_one_line_of_bounded_length(store: ChatStore) -> None:
    (fact,) = store.facts.add("nora", ["word " * 500])
    assert len(fact.text) <= LONGEST
    assert fact.text.endswith("…")


def test_an_archives_facts_are_added_under_their_ids(store: ChatStore) -> None:
    (fact,) = store.facts.add("nora", ["Has a cat."])
    elsewhere = ChatStore()
    for _ in range(2):
        elsewhere.facts.merge([fact])
    assert elsewhere.facts.all() == [fact]
    (same, other) = ChatStore().facts.add("nora", ["has a cat", "Has a dog."])
    assert elsewhere.facts.merge([same, other, replace(other, id="another")]) == 1
    assert texts(elsewhere.facts.all()) == ["Has a cat.", "Has a dog."]


def test_facts_are_saved_from_a_damaged_store(tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    store = ChatStore(file)
    say(store, "Hi", "Hello")
    store.facts.add("nora", ["Has a cat."])
    store.close()
    by_sql(file, "DROP TABLE said_idx")
    again = ChatStore(file)
    if not again.notice:  # else it was seen at once
        with pytest.raises(StorageError, match="damaged"):
            use(again)
        again.close()
        again = ChatStore(file)
    assert "1 chat could be saved" in again.notice
    assert texts(again.facts.all()) == ["Has a cat."]
    again.close()
