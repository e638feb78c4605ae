"""A greeting is the first message: stored with its versions, exported, edited, told in every template in its place."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.chat.memory import Memory
from menny.engine.remote.byte_tokenizer import ByteTokenizer, messages_of
from menny.engine.remote.messages import alternating
from menny.engine_protocols import OPENING
from menny.errors import PromptError, PromptTooLongError
from menny.messages import Message
from menny.personas.cards import greetings_of
from menny.personas.imports import read_import
from menny.personas.persona import Persona, PersonaFile
from menny.prompts import TEMPLATES
from menny.storage import ChatStore, Opening, as_json
from menny.storage.formats.json import from_json
from tests.chat.test_conversation import Piece, Pieces, Sampling, Scripted, saying
from tests.chat.test_seam import vocabulary
from tests.personas import card_files as cards
from tests.prompts.conversations import tokenizer_of

GREETINGS = ("Come in.", "Mira looks up.", "Who is there?")
OPENED = Opening(GREETINGS, 1, "mira")


@dataclass
class Listening:
    """An engine that keeps the ids of its prompts, and answers each with a word."""

    tokenizer: Any
    context_length: int = 4000
    prompts: list[list[int]] = field(default_factory=list)

    def stream(self, prompt_ids: list[int], params: Any = None, on_progress: Any = None) -> Pieces:
        self.prompts.append(list(prompt_ids))
        return Pieces([Piece("Yes."), Piece("", "stop")])


def said(chat: Chat) -> list[tuple[str, str]]:
    return [(entry.role, entry.text) for entry in chat.entries]


def test_it_is_stored_with_the_users_first_message_and_its_versions_can_be_stepped_through() -> None:
    store = ChatStore()
    chat, engine = Chat(store), Scripted([saying("Sit."), saying("Me.")])
    chat.begin_with(OPENED)
    assert chat.entries == []
    assert store.conversations() == []
    list(chat.reply("Hello", engine, ReplySettings(Sampling(), Instructions("You are Mira."))))
    assert said(chat) == [("assistant", "Mira looks up."), ("user", "Hello"), ("assistant", "Sit.")]
    greeting = chat.entries[0]
    assert (greeting.persona, greeting.status, greeting.parent) == ("mira", "whole", None)
    assert [store.entry(one).text for one in greeting.alternatives] == list(GREETINGS)
    assert store.conversations()[0].title == "Hello"
    assert engine.prompts[0] == (
        "<|im_start|> system You are Mira. <|im_end|> <|im_start|> assistant Mira looks up. <|im_end|> "
        "<|im_start|> user Hello <|im_end|> <|im_start|> assistant"
    )
    chat.choose(greeting.alternatives[2])
    assert said(chat) == [("assistant", "Who is there?")]
    chat.begin_with(OPENED)  # of no use to a chat that has begun
    list(chat.reply("Me", engine, ReplySettings(Sampling())))
    assert said(chat) == [("assistant", "Who is there?"), ("user", "Me"), ("assistant", "Me.")]
    with pytest.raises(PromptError, match="begins the chat"):
        chat.regenerate(greeting.id)


def test_a_refused_first_message_leaves_nothing_behind_and_can_be_sent_again() -> None:
    store = ChatStore()
    chat, engine = Chat(store), Scripted([saying("Sit.")], context_length=60)
    chat.begin_with(OPENED)
    with pytest.raises(PromptTooLongError):
        list(chat.reply("word " * 100, engine, ReplySettings(Sampling())))
    assert chat.entries == []
    assert store.conversations() == []
    list(chat.reply("Hello", engine, ReplySettings(Sampling())))
    assert said(chat)[0] == ("assistant", "Mira looks up.")
    assert store.conversations()[0].title == "Hello"
    with pytest.raises(PromptTooLongError):
        list(chat.reply("word " * 100, engine, ReplySettings(Sampling())))
    assert said(chat)[0] == ("assistant", "Mira looks up.")


def test_after_examples_it_is_no_part_of_the_last_answer() -> None:
    chat, engine = Chat(), Scripted([saying("Sit.")])
    chat.begin_with(OPENED)
    examples = [Message("user", "Ping"), Message("assistant", "Pong")]
    list(chat.reply("Hello", engine, ReplySettings(Sampling(), Instructions.of([], "S", examples))))
    assert (
        f"assistant Pong <|im_end|> <|im_start|> user {OPENING} <|im_end|> <|im_start|> assistant Mira"
        in engine.prompts[0]
    )


def test_it_leaves_a_full_context_with_the_first_turn() -> None:
    chat, engine = Chat(), Scripted([saying("ok")] * 4)
    chat.begin_with(OPENED)
    for number in range(4):
        list(chat.reply(f"q{number}", engine, ReplySettings(Sampling(), memory=Memory("turns", 1))))
    assert "Mira" in engine.prompts[1]
    assert "Mira" not in engine.prompts[3]
    assert OPENING not in engine.prompts[3]


def in_template(template: str) -> Listening:
    known = {"mistral-v7-tekken", "mistral-v15"}
    return Listening(tokenizer_of(template) if template in known else vocabulary(template))


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_second_of_a_cards_three_greetings_is_told_stored_exported_and_imported(template: str) -> None:
    imported = read_import("card.json", cards.as_json(cards.V2)).persona
    persona = Persona(id="sera", **{name: getattr(imported, name) for name in PersonaFile.model_fields})
    greetings = greetings_of(persona, "Ada")
    assert len(greetings) == 3
    store, engine = ChatStore(), in_template(template)
    chat = Chat(store)
    chat.begin_with(Opening(tuple(greetings), 1, "sera"))
    settings = ReplySettings(Sampling(), template=template)
    list(chat.reply("Hello", engine, settings))
    list(Chat(store, chat.id).reply("And now?", engine, settings))  # as after a reload

    again = ChatStore()
    again.merge([from_json(as_json(store.transcript(chat.id)))])
    back = Chat(again, chat.id)
    assert [one.text for one in back.entries] == [greetings[1], "Hello", "Yes.", "And now?", "Yes."]
    assert [again.entry(one).text for one in back.entries[0].alternatives] == greetings
    list(back.reply("Really?", engine, settings))
    prompts = engine.prompts
    for ids in prompts:
        text = engine.tokenizer.decode(ids)
        assert text.count(greetings[1]) == 1
        assert (OPENING in text) == (template != "chatml")
    for before, after in pairwise(prompts):
        assert after[: len(before)] == before  # the prompt only grows


def test_a_server_gets_it_after_a_question_that_only_opens_the_chat() -> None:
    chat, engine = Chat(), Listening(ByteTokenizer())
    chat.begin_with(OPENED)
    list(chat.reply("Hello", engine, ReplySettings(Sampling(), Instructions("S"))))
    sent = alternating(messages_of(engine.prompts[0]) or [])
    assert [message["content"] for message in sent] == ["S", OPENING, "Mira looks up.", "Hello"]
