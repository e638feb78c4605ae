"""A chat that sums up what leaves the model's sight: before which reply, from what, and when it can't."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from menny.chat import Chat, Instructions, Reply, ReplySettings
from menny.chat.memory import RECALL, Memory
from menny.chat.prompt_builder import Usage
from menny.engine import SamplingParams, load_engine
from menny.engine_protocols import Progress
from menny.errors import EngineError, PromptTooLongError
from menny.storage import ChatStore
from tests.chat.test_conversation import Piece, Sampling, Scripted, saying

SUMMARY = Memory("summary")
BRIEF = Instructions("Be kind.")
QUESTION = "number {} and some more words to fill the context with so that it is full soon"


class Talker(Scripted):
    """Answers every question, and every request for a summary with the note at hand."""

    note: Any = saying("They ", "count.")

    def stream(self, prompt_ids: list[int], params: Any, on_progress: Any = None) -> Any:
        asked = self.tokenizer.decode(prompt_ids)
        self.replies.append(list(self.note) if "Sum up the conversation" in asked else saying("Yes, ", "I see."))
        return super().stream(prompt_ids, params, on_progress)


def talk(chat: Chat, engine: Scripted, first: int, last: int, memory: Memory = SUMMARY, **more: Any) -> None:
    for number in range(first, last):
        list(chat.reply(QUESTION.format(number), engine, ReplySettings(Sampling(), BRIEF, memory=memory, **more)))


def summaries(engine: Scripted) -> list[str]:
    return [prompt for prompt in engine.prompts if "Sum up the conversation" in prompt]


def usage_of(chat: Chat) -> Usage:
    """Of the latest reply."""
    return Usage(**chat.entries[-1].extra["usage"])


def notice(chat: Chat) -> str:
    return str(chat.entries[-1].extra["notice"])


def kept_summaries(chat: Chat) -> list[str]:
    return [entry.extra["summary"] for entry in chat.entries if "summary" in entry.extra]


def talker() -> Talker:
    return Talker([], context_length=400)


def test_what_leaves_is_summed_up_once_and_the_summary_goes_with_the_prompts_after() -> None:
    chat, engine = Chat(), talker()
    talk(chat, engine, 0, 30)
    assert "User: number 0 and" in summaries(engine)[0]
    assert 1 < len(summaries(engine)) < 8
    usage = usage_of(chat)
    assert usage.summed == usage.unseen > 0
    assert f"user {RECALL} <|im_end|> <|im_start|> assistant They count. <|im_end|>" in engine.prompts[-1]
    assert engine.prompts[-1].index("Be kind.") < engine.prompts[-1].index("They count.")
    assert "number 29" in engine.prompts[-1]


def test_the_next_summary_takes_the_last_one_up_and_only_what_left_since() -> None:
    chat, engine = Chat(), talker()
    talk(chat, engine, 0, 30)
    first, second, *_ = summaries(engine)
    assert "What was said before" not in first
    assert "(What was said before: They count.)" in second
    assert "number 0 " not in second


def test_prompts_stay_within_the_context_and_begin_alike_for_several_turns() -> None:
    chat, engine = Chat(), talker()
    talk(chat, engine, 0, 40)
    replies = [prompt for prompt in engine.prompts if "Sum up the conversation" not in prompt]
    assert all(len(prompt.split()) <= 400 - Sampling().max_tokens for prompt in replies)
    going_on = [new.startswith(old) for old, new in pairwise(replies)]
    assert sum(going_on) > 0.7 * len(going_on)


def test_a_summary_that_fails_is_told_and_the_reply_comes_from_the_recent_turns() -> None:
    chat, engine = Chat(), talker()
    engine.note = [Piece("Half"), EngineError("The model gave no numbers.")]
    talk(chat, engine, 0, 30)
    assert chat.entries[-1].text == "Yes, I see."
    assert "couldn't be summarized" in notice(chat)
    assert "The model gave no numbers." in notice(chat)
    assert (kept_summaries(chat), RECALL in engine.prompts[-1]) == ([], False)


def test_an_empty_summary_is_none() -> None:
    chat, engine = Chat(), talker()
    engine.note = saying(" ")
    talk(chat, engine, 0, 30)
    assert "wrote no summary" in notice(chat)


def test_in_too_small_a_context_the_chat_goes_on_without_a_summary() -> None:
    chat, engine = Chat(), Talker([], context_length=120)
    talk(chat, engine, 0, 10)
    assert summaries(engine) == []
    assert "too small for a summary" in notice(chat)


def test_a_reply_stopped_while_its_summary_is_written_ends_and_keeps_no_half_summary() -> None:
    chat, engine = Chat(), talker()
    phases: list[Any] = []
    number = 0
    while not phases:
        reply = chat.begin(QUESTION.format(number))

        def stop(progress: Any, reply: Reply = reply) -> None:
            phases.append(progress)
            if progress.phase == "summarizing" and progress.done:
                reply.cancel()

        list(chat.answer(reply, engine, ReplySettings(Sampling(), BRIEF, memory=SUMMARY), on_progress=stop))
        number += 1
    assert (reply.text, reply.finish_reason, kept_summaries(chat)) == ("", "cancelled", [])
    assert engine.streams[-1].cancelled
    assert phases[0] == Progress("summarizing", 0, phases[0].total)
    talk(chat, engine, number, number + 1)
    assert kept_summaries(chat) == ["They count."]


def test_a_summary_is_written_by_the_likeliest_tokens_within_its_room() -> None:
    asked: list[Sampling] = []

    class Listening(Talker):
        def stream(self, prompt_ids: list[int], params: Any, on_progress: Any = None) -> Any:
            asked.append(params)
            return super().stream(prompt_ids, params, on_progress)

    talk(Chat(), Listening([], context_length=400), 0, 30)
    (short,) = {params.max_tokens for params in asked if params.temperature == 0}
    assert short < 400 / 6
    assert {params.max_tokens for params in asked if params.temperature} == {10}


def test_a_chat_goes_on_with_its_summary_after_a_restart(tmp_path: Path) -> None:
    store = ChatStore(tmp_path / "chats.db")
    chat = Chat(store)
    talk(chat, talker(), 0, 30)
    store.close()
    later = talker()
    kept = Chat(ChatStore(tmp_path / "chats.db"), chat.id)
    list(kept.reply("short", later, ReplySettings(Sampling(), BRIEF, memory=SUMMARY)))
    assert summaries(later) == []
    assert "They count." in later.prompts[-1]


def test_a_summary_holds_for_the_branch_that_it_was_written_in() -> None:
    chat, engine = Chat(), talker()
    talk(chat, engine, 0, 30)
    first, old = chat.entries[0], chat.entries[-1]
    edited = chat.edit(first.id, "Another beginning")
    list(chat.answer(edited, engine, ReplySettings(Sampling(), BRIEF, memory=SUMMARY)))
    assert chat.summary is None
    engine.note = saying("They ", "sing.")
    talk(chat, engine, 0, 15)
    assert "User: Another beginning" in next(asked for asked in summaries(engine) if "Another beginning" in asked)
    assert "They sing." in engine.prompts[-1]
    assert "They count." not in engine.prompts[-1]
    chat.choose(old.id)
    talk(chat, engine, 30, 31)
    assert "They count." in engine.prompts[-1]


def test_everything_is_refused_when_it_no_longer_fits_and_the_message_comes_back() -> None:
    chat, engine = Chat(), talker()
    with pytest.raises(PromptTooLongError, match="whole conversation"):
        talk(chat, engine, 0, 30, Memory("everything"))
    assert len(chat.entries) == 2 * len(engine.prompts)


def test_the_usage_adds_up_to_the_context() -> None:
    chat, engine = Chat(), talker()
    talk(chat, engine, 0, 30)
    usage = usage_of(chat)
    assert usage.system + usage.summary + usage.turns == len(engine.prompts[-1].split())
    assert usage.free == 400 - usage.reply - len(engine.prompts[-1].split()) >= 0


@pytest.mark.slow
def test_the_model_that_comes_along_sums_up_and_goes_on_from_its_cache(smollm2_path: Path) -> None:
    said = [
        ("My name is Ada and my cat is called Quincy.", "Nice to meet you, Ada! Quincy is a lovely name for a cat."),
        ("I live in Lisbon and I work as a gardener.", "Lisbon is a beautiful city. Gardening must be rewarding."),
        ("What grows well in the shade?", "Ferns, hostas and ivy grow well there. They like moist soil."),
        ("I am planning a trip to Japan in May.", "May is a great time to visit Japan. The weather is mild."),
    ]
    store, chat = ChatStore(), Chat()
    for text, answer in [*said, *said, *said]:
        _, reply = store.ask(chat.id, store.path(chat.id)[-1].id if store.path(chat.id) else None, text)
        store.finish(reply.id, answer, "stop")
    chat = Chat(store, chat.id)
    with load_engine(smollm2_path) as engine:

        class Small:
            tokenizer, stream, context_length = engine.tokenizer, engine.stream, 450

        params = SamplingParams(temperature=0.0, max_tokens=12)
        for text in ("What should I pack?", "And for the cat?"):
            *_, last = chat.reply(text, Small(), ReplySettings(params, BRIEF, memory=SUMMARY))
            usage = usage_of(chat)
            assert "notice" not in chat.entries[-1].extra
            assert chat.entries[usage.summed - 1].extra["summary"]
            assert usage.summed == usage.unseen > 0
            assert last.prompt_tokens == usage.system + usage.summary + usage.turns <= 450 - 12
        assert last.cached_tokens > last.prompt_tokens / 2
