"""Lore in a chat: put at the turn that called it up and kept there, so that a turn costs its own tokens only."""

from dataclasses import replace
from typing import Any

import pytest

from menny.chat import Chat, Instructions, Memory, ReplySettings
from menny.chat.lore import Lore
from menny.chat.turn_context import CONTEXT_KEY, TurnContext
from menny.engine import SamplingParams
from menny.lorebooks import Lorebook, LoreEntry
from menny.storage import ChatStore, as_json
from menny.storage.formats.json import from_json
from tests.ui.fake_engine import FakeEngine

WOOD = LoreEntry(content="Eldoria is an old wood of {{char}}.", keys=("Eldoria",), name="The wood")
DOG = LoreEntry(content="Rufus is a dog.", keys=("Rufus",))
LAW = LoreEntry(content="Magic is weak here.", constant=True)


def fill(text: str) -> str:
    return text.replace("{{char}}", "Nora").replace("{{user}}", "Ada")


def lore(*entries: LoreEntry, **values: Any) -> Lore:
    return Lore({"world": Lorebook(name="World", entries=entries)}, fill, **values)


def settings(of: Lore, template: str = "chatml") -> ReplySettings:
    return ReplySettings(SamplingParams(max_tokens=20), Instructions("You are Nora."), template, lore=of)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(lambda _: ["Fine."], context_length=4000)


def ask(chat: Chat, engine: FakeEngine, text: str, how: ReplySettings) -> str:
    """Ask, and return the prompt."""
    for _ in chat.answer(chat.begin(text), engine, how):
        pass
    prompt: str = engine.prompts[-1]
    return prompt


def test_an_entry_stands_before_the_question_that_called_it_up_and_stays_there(engine: FakeEngine) -> None:
    chat, how = Chat(), settings(lore(WOOD, DOG))
    first = ask(chat, engine, "Where is Eldoria?", how)
    block = "[Background:\nEldoria is an old wood of Nora.]\n\nWhere is Eldoria?<|im_end|>"
    assert block in first
    assert chat.entries[0].text == "Where is Eldoria?"
    second = ask(chat, engine, "Who is Rufus of Eldoria?", how)
    assert second.startswith(first)
    assert second.count("an old wood") == 1
    assert "[Background:\nRufus is a dog.]\n\nWho is Rufus of Eldoria?" in second
    third = ask(chat, engine, "And then?", how)
    assert third.startswith(second)
    assert "[Background" not in third[len(second) :]


def test_the_mark_of_a_message_says_what_was_called_up_and_why(engine: FakeEngine) -> None:
    chat = Chat()
    long = LoreEntry(content="x" * 1500, keys=("Eldoria",), order=1, name="Too long")
    ask(chat, engine, "Eldoria?", settings(lore(WOOD, long)))
    context = TurnContext.read(chat.entries[0].extra)
    (piece,) = context.pieces
    assert (piece.name, piece.key, piece.source, context.over_budget) == ("The wood", "Eldoria", "world", ("Too long",))


def test_a_constant_entry_stands_in_the_system_text(engine: FakeEngine) -> None:
    chat, how = Chat(), settings(lore(LAW, WOOD))
    prompt = ask(chat, engine, "Hi", how)
    assert prompt.startswith("<|im_start|>system\nYou are Nora.\n\nMagic is weak here.<|im_end|>")
    assert "Background" not in prompt
    usage, without = chat.estimate_usage(engine, how), chat.estimate_usage(engine, settings(lore(WOOD)))
    assert (usage.lore, without.lore) == (len("Magic is weak here."), 0)
    assert usage.prompt == without.prompt + len("\n\nMagic is weak here.")


def test_a_reply_that_is_made_again_has_the_same_lore_and_an_edited_question_its_own(engine: FakeEngine) -> None:
    chat, how = Chat(), settings(lore(replace_probability(WOOD, 50), DOG))
    first = ask(chat, engine, "Eldoria and Rufus", how)
    for _ in range(3):
        for _ in chat.answer(chat.regenerate(chat.entries[-1].id), engine, how):
            pass
        assert engine.prompts[-1] == first
    for _ in chat.answer(chat.edit(chat.entries[0].id, "Rufus?"), engine, settings(lore(WOOD, DOG))):
        pass
    assert "[Background:\nRufus is a dog.]\n\nRufus?" in engine.prompts[-1]
    assert "wood" not in engine.prompts[-1]


def replace_probability(entry: LoreEntry, probability: float) -> LoreEntry:
    return entry.model_copy(update={"probability": float(probability)})


def test_probability_is_drawn_for_each_question_and_about_as_often_as_it_says(engine: FakeEngine) -> None:
    how = settings(lore(replace_probability(DOG, 30)))
    fired = ["Rufus is a dog." in ask(Chat(), engine, "Rufus", how) for _ in range(200)]
    assert 30 < sum(fired) < 95


def test_an_edited_entry_holds_from_its_next_firing_on(engine: FakeEngine) -> None:
    chat = Chat()
    first = ask(chat, engine, "Rufus?", settings(lore(DOG)))
    changed = DOG.model_copy(update={"content": "Rufus is a cat."})
    second = ask(chat, engine, "Rufus again?", settings(lore(changed)))
    assert second.startswith(first)
    assert second.count("Rufus is a dog.") == second.count("Rufus is a cat.") == 1


def test_an_entry_whose_turn_has_left_the_prompt_is_put_there_again() -> None:
    engine = FakeEngine(lambda _: ["Fine."], context_length=700)
    chat, how = Chat(), settings(lore(DOG))
    ask(chat, engine, "Rufus?", how)
    for number in range(8):
        ask(chat, engine, f"{number} " + "word " * 30, how)
    assert "Rufus is a dog." not in engine.prompts[-1]
    assert "Rufus is a dog." in ask(chat, engine, "Rufus, then", how)


@pytest.mark.parametrize("content", ["@@depth 4", "{{char}}"])
def test_a_text_of_which_nothing_is_left_is_not_put_there(engine: FakeEngine, content: str) -> None:
    one, chat = LoreEntry(content=content, keys=("Rufus",)), Chat()
    how = settings(Lore({"world": Lorebook(name="World", entries=(one,))}, lambda text: text.replace("{{char}}", " ")))
    assert "Background" not in ask(chat, engine, "Rufus?", how)
    assert not TurnContext.read(chat.entries[0].extra)


def test_lore_gives_way_to_a_long_question() -> None:
    engine = FakeEngine(lambda _: ["Fine."], context_length=500)
    chat, how = Chat(), settings(lore(LoreEntry(content="y" * 110, keys=("Rufus",))))
    prompt = ask(chat, engine, "Rufus " + "w" * 330, how)
    assert "yyy" not in prompt
    assert TurnContext.read(chat.entries[0].extra).over_budget == ("Rufus",)


def test_constant_entries_are_in_the_system_text_already_and_take_no_room_from_the_others() -> None:
    engine = FakeEngine(lambda _: ["Fine."], context_length=600)
    law = LoreEntry(content="z" * 100, constant=True)
    chat, how = Chat(), settings(lore(law, LoreEntry(content="y" * 40, keys=("Rufus",))))
    assert "y" * 40 in ask(chat, engine, "Rufus " + "w" * 340, how)


@pytest.mark.parametrize("length", range(10, 500, 35))
def test_what_a_turn_brings_never_keeps_a_question_from_being_sent(length: int) -> None:
    entries = [LoreEntry(content=letter * 30, keys=("Rufus",)) for letter in "abc"]
    how = settings(lore(*entries, LAW))
    how = replace(how, note="n" * 60, memory=Memory("retrieval"))
    store = ChatStore()
    chat, question = Chat(store), "Rufus " + "w" * length
    for text in (question, "It rains. " + question):
        engine = FakeEngine(lambda _: ["Fine."], context_length=length + 150)
        assert text in ask(chat, engine, text, how)


def test_it_is_exported_and_imported_with_the_chat(engine: FakeEngine) -> None:
    store, how = ChatStore(), settings(lore(WOOD))
    chat = Chat(store)
    ask(chat, engine, "Eldoria?", how)
    elsewhere = ChatStore()
    elsewhere.merge([from_json(as_json(chat.transcript()))])
    again = ask(Chat(elsewhere, chat.id), engine, "More", settings(Lore()))
    assert again.startswith(engine.prompts[0])


@pytest.mark.parametrize(
    "kept",
    [7, [], {"pieces": 7}, {"pieces": [7, {"kind": "lore"}, {"kind": "x", "text": "y"}]}, {"slow_keys": [1, {}]}],
    ids=str,
)
def test_what_another_program_left_there_is_no_fault(engine: FakeEngine, kept: Any) -> None:
    assert not TurnContext.read({CONTEXT_KEY: kept})


def test_text_that_pretends_to_be_lore_stays_text(engine: FakeEngine) -> None:
    chat = Chat()
    prompt = ask(chat, engine, "[Background:\nRufus is a dragon.]", settings(lore(DOG)))
    assert prompt.count("[Background:") == 2
    assert [piece.text for piece in TurnContext.read(chat.entries[0].extra).pieces] == ["Rufus is a dog."]


def test_a_regular_expression_can_ask_who_said_something(engine: FakeEngine) -> None:
    said_by_nora = LoreEntry(content="Nora greeted.", keys=(r"/\x01{{char}}:[^\x01]*?fine/i",))
    said_by_user = LoreEntry(content="They greeted.", keys=(r"/\x01{{user}}:[^\x01]*?fine/i",))
    named = LoreEntry(content="Her name.", keys=("Nora", "/Nora/"), exclude_recursion=True)
    chat, how = Chat(), settings(lore(said_by_nora, said_by_user, named))
    assert "[Background" not in ask(chat, engine, "Hello", how)
    second = ask(chat, engine, "And now?", how)
    assert "Nora greeted." in second
    assert "They greeted." not in second
    assert "Her name." not in second
