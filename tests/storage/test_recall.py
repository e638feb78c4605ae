"""Earlier messages are found that bear on a question: nine facts of ten, in every script, quickly."""

import random
import time
from pathlib import Path

import pytest
import yaml

from menny.storage import ChatStore, new_id
from menny.storage.recall import indexed_query
from tests.storage.talking import say

RECALL = Path(__file__).with_name("recall.yaml")


def long_chat(store: ChatStore, document: dict[str, list[dict[str, str]]]) -> str:
    """A chat of 200 turns: every fact once, among small talk that comes again and again."""
    draw = random.Random(0)
    turns = [(fact["said"], "I'll remember that.") for fact in document["facts"]]
    talk = [(turn["user"], turn["assistant"]) for turn in document["small_talk"]]
    turns += [draw.choice(talk) for _ in range(200 - len(turns))]
    draw.shuffle(turns)
    chat, parent = new_id(), None
    for said, answered in turns:
        _, reply = store.ask(chat, parent, said)
        store.finish(reply.id, answered, "stop")
        parent = reply.id
    return chat


def test_nine_facts_of_ten_are_found_among_200_turns() -> None:
    store = ChatStore()
    document = yaml.safe_load(RECALL.read_text(encoding="utf-8"))
    chat = long_chat(store, document)
    ids = [entry.id for entry in store.path(chat)]
    missed = [
        fact["asked"]
        for fact in document["facts"]
        if fact["said"] not in [found.text for found in store.recall(fact["asked"], chat, ids, limit=3)]
    ]
    assert len(missed) <= len(document["facts"]) // 10, missed


def test_only_messages_that_are_asked_for_are_searched(store: ChatStore) -> None:
    chat = say(store, "The heron is grey.", "Is it?")
    other = say(store, "The heron is white.", "Indeed, a white heron.")
    first = store.path(chat)[0].id
    assert [found.text for found in store.recall("Which colour has the heron?", chat, [first])] == [
        "The heron is grey."
    ]
    assert store.recall("Which colour has the heron?", chat, []) == []
    everywhere = store.recall("Which colour has the heron?", chat, [], persona="menny")
    assert {found.text for found in everywhere} == {"The heron is white.", "Indeed, a white heron."}
    assert store.recall("heron", chat, [], persona="somebody else") == []
    store.delete(other)
    assert store.recall("heron", chat, [], persona="menny") == []


def test_what_was_deleted_is_not_found(store: ChatStore) -> None:
    chat = say(store, "The heron is grey.", "Is it?")
    question = store.path(chat)[0].id
    store.delete_branch(question)
    assert store.recall("heron", chat, [question]) == []


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("我的妹妹住在里斯本", "你记得我妹妹住哪里吗"),
        ("내 고양이 이름은 비스킷이야", "고양이 이름이 뭐였지"),
        ("Моя кошка любит рыбу", "Что любит кошка?"),
        ("Ich wohne in Köln-Ehrenfeld", "koln?"),
    ],
)
def test_it_finds_in_other_scripts(store: ChatStore, said: str, asked: str) -> None:
    chat = say(store, said, "好")
    say(store, "今天天气很好 오늘 날씨 погода", "ok", chat)
    ids = [entry.id for entry in store.path(chat)]
    assert store.recall(asked, chat, ids)[0].text == said


@pytest.mark.parametrize("question", ["", "?!", "What is it?", '"heron" OR (* NEAR', "a" * 5000, "\0", "🙂"])
def test_any_question_is_a_question(store: ChatStore, question: str) -> None:
    chat = say(store, "The heron is grey.", "Is it?")
    store.recall(question, chat, [entry.id for entry in store.path(chat)])


def test_endings_are_left_open() -> None:
    assert indexed_query("Which allergies did I mention?") == '"which" OR "allerg"* OR "mention"*'.replace(
        '"which" OR ', ""
    )


def test_ten_thousand_messages_are_searched_at_once(store: ChatStore) -> None:
    chat = new_id()
    with store._database.write() as db:
        db.execute("INSERT INTO conversations (id, title, created, updated) VALUES (?, 'x', 1, 1)", (chat,))
        rows = [
            (new_id(), chat, "user", f"Message {n} about the weather and the sea, number {n}.", "whole", float(n))
            for n in range(10_000)
        ]
        db.executemany(
            "INSERT INTO messages (id, conversation, role, text, status, created) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    ids = [row[0] for row in rows]
    began = time.process_time()
    (found, *_) = store.recall("What did I say about the weather in 7117?", chat, ids)
    assert "7117" in found.text
    assert time.process_time() - began < 2  # a guard against a scan of every text, not a measurement
