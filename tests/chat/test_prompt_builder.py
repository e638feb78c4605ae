"""How a context is used: counted before the question, kept, and read again."""

from dataclasses import asdict, replace

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.chat.memory import Memory
from menny.chat.prompt_builder import Context, Usage
from menny.errors import PromptTooLongError
from tests.chat.test_conversation import Sampling, Scripted, saying

BRIEF = Instructions("Be kind.")


def test_what_is_foreseen_is_what_the_next_prompt_takes_but_for_the_question() -> None:
    chat, engine = Chat(), Scripted([saying("Yes."), saying("No.")], context_length=100)
    list(chat.reply("Is it so?", engine, ReplySettings(Sampling(), BRIEF)))
    foreseen = chat.estimate_usage(engine, ReplySettings(Sampling(), BRIEF))
    list(chat.reply("Really now?", engine, ReplySettings(Sampling(), BRIEF)))
    assert foreseen.system + foreseen.turns == len(engine.prompts[1].split()) - len(["Really", "now?"])
    assert (foreseen.context, foreseen.reply) == (100, 10)
    assert foreseen.free == 100 - 10 - foreseen.system - foreseen.turns


def test_a_context_that_is_full_with_everything_is_foreseen() -> None:
    chat, engine = Chat(), Scripted([saying("word " * 60)], context_length=100)
    list(chat.reply("Is it so?", engine, ReplySettings(Sampling())))
    with pytest.raises(PromptTooLongError, match="no longer fits"):
        chat.estimate_usage(engine, ReplySettings(Sampling(25), BRIEF, memory=Memory("everything")))


def test_the_room_for_a_reply_is_a_quarter_of_the_context_at_most() -> None:
    engine = Scripted([], context_length=100)
    assert (Context(engine, None, 10).budget, Context(engine, None, 4000).budget) == (90, 75)


@pytest.mark.parametrize(
    "kept", [None, "x", {}, {"context": 1}, {**asdict(Usage(1, 1, 1, 1, 1)), "turns": "<b>"}, [1], {"context": -1}]
)
def test_what_was_not_kept_as_usage_is_none(kept: object) -> None:
    usage = Usage(100, 10, 0, 20, 30, unseen=4, lore=3)
    assert Usage.read(asdict(usage)) == usage
    of_an_older_menny = {key: value for key, value in asdict(usage).items() if key not in ("lore", "memory", "note")}
    assert Usage.read(of_an_older_menny) == replace(usage, lore=0)
    assert Usage.read(kept) is None
