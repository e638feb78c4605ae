"""Titles that the model writes: only what looks like one, only in the place of the first question's."""

import pytest

from menny.chat import Chat, ReplySettings
from menny.chat.titles import cleaned, write_title
from menny.storage import ChatStore
from tests.chat.test_conversation import Sampling, Scripted, saying


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Why rain falls", "Why rain falls"),
        ('Title: "Why rain falls."\nIt is good.', "Why rain falls"),
        ("\n\n**Rain,  and  clouds**", "Rain, and clouds"),
        ("雨の話", "雨の話"),
        *((one, "") for one in ("", "\u200b", "  . ", "x" * 61, "a b c d e f g h i", "Sure! Here it is", "[INST] x")),
        *((one, "") for one in ("The perfect title for this chat.", "Rice, rice, rice, rice", " ".join(["word"] * 60))),
    ],
)
def test_an_answer_is_a_title_or_nothing(answer: str, title: str) -> None:
    assert cleaned(answer) == title


def titled(*answers: str, stops_after: int = 100, title: str = "") -> str:
    """The title of a chat of one exchange, after the model was asked for one as often as it has answers."""
    store = ChatStore()
    chat, engine = Chat(store), Scripted([saying("Water."), *(saying(*one) for one in answers)])
    list(chat.reply("What is rain?", engine, ReplySettings(Sampling())))
    if title:
        store.rename(chat.id, title)
    asked = iter(range(100))
    for _ in answers:
        write_title(chat, engine, ReplySettings(Sampling()), lambda: next(asked) >= stops_after)
    assert len(chat.entries) == 2
    return chat.title


def test_a_chat_gets_the_models_title_once_and_never_over_the_users() -> None:
    assert titled("About rain") == "About rain"
    assert titled("About rain", "Weather") == "About rain"
    assert titled("About rain", title="Mine") == "Mine"
    assert titled("Sure, I can do that") == "What is rain?"
    assert titled("Boiling eggs") == "What is rain?"  # the title of the example
    assert titled("About rain", stops_after=3) == "What is rain?"  # somebody waits
