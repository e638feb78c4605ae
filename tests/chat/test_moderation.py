"""A watched conversation: every cell of off, warn and block; what is sent, what is kept, and what the model sees."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from menny.chat import Chat, Reply, ReplySettings
from menny.config.paths import CONFIGS
from menny.engine import SamplingParams, load_engine
from menny.errors import EngineError, PromptError, WithheldError
from menny.moderation.categories import load_moderation
from menny.moderation.moderator_cache import ModeratorCache
from menny.moderation.policy import WITHHELD, Moderation, ModerationResult, Policy, Side
from menny.storage import ChatStore, MessageNode
from tests.engine.scripts import write_script
from tests.ui.fake_engine import FakeEngine, last_question

SETTINGS = load_moderation(CONFIGS / "moderation.yaml")
CATEGORIES = [category.id for category in SETTINGS.categories]
NAMES = SETTINGS.names
CELLS = list(itertools.product(["messages", "replies"], CATEGORIES, ["off", "warn", "block"]))


@dataclass
class Sampling:
    max_tokens: int = 64
    temperature: float = 0.0
    background: bool = False
    keep_cache: bool = False


def classify(text: str) -> str:
    """A text is what it says it is."""
    return next((category for category in CATEGORIES if f"({category})" in text), "acceptable")


@dataclass
class Told:
    """A conversation over a store on disk, and the engine that answers and judges."""

    store: ChatStore
    chat: Chat
    engine: FakeEngine

    def say(self, text: str, policy: Policy | None = None) -> MessageNode:
        """Send a text; returns the reply as the store has it."""
        reply = self.chat.begin(text)
        for _ in self.chat.answer(
            reply, self.engine, ReplySettings(Sampling(), template="chatml", moderation=self.moderation(policy))
        ):
            pass
        return self.store.entry(reply.id)

    def moderation(self, policy: Policy | None) -> Moderation | None:
        return ModeratorCache().moderation(SETTINGS, policy) if policy else None


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    store = ChatStore(tmp_path / "chats.db")
    yield Told(store, Chat(store), FakeEngine(lambda prompt: ["I say ", "fine."], judge=classify))
    store.close()


def finding(entry: MessageNode) -> ModerationResult | None:
    return ModerationResult.from_dict(entry.extra.get("moderation"))


@pytest.mark.parametrize(("side", "category", "action"), CELLS)
def test_every_cell(told: Told, side: Side, category: str, action: str) -> None:
    policy = Policy(**{side: {category: action}})
    asked = f"({category}) what?" if side == "messages" else f"say:{category}"
    told.engine.answer = lambda prompt: [
        "I say ",
        f"nasty ({category})" if "say:" in last_question(prompt) else "fine.",
    ]
    if (side, action) == ("messages", "block"):
        with pytest.raises(WithheldError, match=f"wasn't sent.*“{NAMES[category]}”"):
            told.say(asked, policy)
        assert told.engine.prompts == []
        assert told.chat.entries == []
        assert told.store.conversations() == []
        return
    reply = told.say(asked, policy)
    question = told.store.entry(reply.parent or "")
    found = finding(question if side == "messages" else reply)
    other = finding(reply if side == "messages" else question)
    assert other is None
    assert (found.action, found.category) == (action, NAMES[category]) if found else action == "off"
    bad = f"I say nasty ({category})" if side == "replies" else "I say fine."
    assert reply.text == (WITHHELD if action == "block" else bad)
    told.say("and now?")
    seen = told.engine.prompts[-1]
    assert (bad in seen) == (action != "block")
    assert (WITHHELD in seen) == (action == "block")
    if action == "block":
        assert told.store.search("nasty") == []
        assert reply.finish_reason == "stop"
        assert not reply.can_go_on


def test_a_reply_is_judged_before_and_after_while_another_chat_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Policy(*[dict.fromkeys(CATEGORIES, "warn")] * 2)
    greedy = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True)
    settings = ReplySettings(greedy, template="chatml", moderation=ModeratorCache().moderation(SETTINGS, everything))
    model = write_script(tmp_path / "model", chats=True)
    with closing(ChatStore(tmp_path / "chats.db")) as store, load_engine(model) as engine:
        stream = engine.stream(engine.tokenizer.encode("B"), SamplingParams(temperature=0, max_tokens=1 << 18))
        next(stream)
        waiting, score = [], engine.score

        def noting(*args: Any, **named: Any) -> Any:
            waiting.append(stream._request.events.qsize())
            scores = score(*args, **named)
            waiting.append(stream._request.events.qsize())
            return scores

        monkeypatch.setattr(engine, "score", noting)
        chat = Chat(store)
        reply = chat.begin("hello")
        assert sum(chunk.token is not None for chunk in chat.answer(reply, engine, settings)) == 20
        assert len(waiting) >= 4  # before the reply and after it
        assert all(before < after for before, after in zip(waiting[::2], waiting[1::2], strict=True))
        stream.close()


def test_an_acceptable_turn_is_judged_twice_and_leaves_no_trace(told: Told) -> None:
    everything = dict.fromkeys(CATEGORIES, "block")
    reply = told.say("hello", Policy(everything, everything))
    assert told.engine.judged == ["hello", "I say fine."]
    assert [finding(entry) for entry in told.chat.entries] == [None, None]
    assert "moderation" not in reply.extra


@pytest.mark.parametrize("action", ["warn", "block"])
def test_a_check_that_fails_holds_a_message_back_or_says_so(told: Told, action: str) -> None:
    told.engine.judge = lambda text: "<fail>"
    policy = Policy(messages={"hateful": action})
    if action == "block":
        with pytest.raises(WithheldError, match="wasn't sent: it couldn't be checked"):
            told.say("hello", policy)
        assert told.engine.prompts == []
        assert told.chat.entries == []
        return
    reply = told.say("hello", policy)
    found = finding(told.store.entry(reply.parent or ""))
    assert found is not None
    assert (found.action, reply.text) == ("warn", "I say fine.")
    assert "couldn't be checked" in found.problem


@pytest.mark.parametrize("action", ["warn", "block"])
def test_a_check_that_fails_holds_a_reply_back_or_says_so(told: Told, action: str) -> None:
    told.engine.judge = lambda text: "<fail>"
    reply = told.say("hello", Policy(replies={"hateful": action}))
    found = finding(reply)
    assert found is not None
    assert found.action == action
    assert "couldn't be checked" in found.problem
    assert reply.text == (WITHHELD if action == "block" else "I say fine.")


def test_a_reply_that_breaks_off_is_judged_as_far_as_it_came(told: Told) -> None:
    told.engine.answer = lambda prompt: ["(hateful) ", "<fail>"]
    with pytest.raises(EngineError):
        told.say("hello", Policy(replies={"hateful": "block"}))
    assert told.chat.entries[-1].text == WITHHELD


def test_a_stopped_reply_is_judged_too(told: Told) -> None:
    told.engine.answer = lambda prompt: ["(hateful) ", "more"]
    reply = told.chat.begin("hello")
    moderation = told.moderation(Policy(replies={"hateful": "block"}))
    for _ in told.chat.answer(reply, told.engine, ReplySettings(Sampling(), template="chatml", moderation=moderation)):
        reply.cancel()
    assert told.store.entry(reply.id).text == WITHHELD


def test_a_message_whose_check_is_stopped_is_not_sent_in_block_mode(told: Told) -> None:
    reply: Reply = told.chat.begin("hello")
    reply.cancel()
    moderation = told.moderation(Policy(messages={"hateful": "block"}))
    with pytest.raises(WithheldError, match="reply was stopped"):
        list(told.chat.answer(reply, told.engine, ReplySettings(Sampling(), template="chatml", moderation=moderation)))
    assert told.chat.entries == []


def test_a_reply_that_nobody_lived_to_judge_is_not_seen_by_the_model(told: Told, tmp_path: Path) -> None:
    told.engine.answer = lambda prompt: ["(hateful) ", "words ", "more"]
    reply = told.chat.begin("hello")
    moderation = told.moderation(Policy(replies={"hateful": "block"}))
    chunks = told.chat.answer(reply, told.engine, ReplySettings(Sampling(), template="chatml", moderation=moderation))
    next(chunks), next(chunks)
    another = ChatStore(tmp_path / "chats.db")
    entry = another.entry(reply.id)  # as another process, or the next one, finds it
    another.close()
    found = finding(entry)
    assert found is not None
    assert (found.action, found.problem) == ("block", "it ended before it could be checked")
    assert entry.text == ""  # so neither a search nor an export can have it
    other, later = FakeEngine(lambda prompt: ["fine"]), Chat(told.store, told.chat.id)
    list(later.reply("and now?", other, ReplySettings(Sampling(), template="chatml")))
    assert "(hateful)" not in other.prompts[-1]
    chunks.close()


def test_an_edited_question_that_is_blocked_leaves_the_old_one_in_its_place(told: Told) -> None:
    first = told.say("hello")
    policy = Policy(messages={"illegal": "block"})
    reply = told.chat.edit(first.parent or "", "(illegal)")
    with pytest.raises(WithheldError):
        list(
            told.chat.answer(
                reply, told.engine, ReplySettings(Sampling(), template="chatml", moderation=told.moderation(policy))
            )
        )
    assert [entry.text for entry in told.chat.entries] == ["hello", "I say fine."]


def test_another_try_at_a_withheld_reply_is_judged_anew(told: Told) -> None:
    told.engine.answer = lambda prompt: ["(hateful)"]
    policy = Policy(replies={"hateful": "block"})
    withheld = told.say("hello", policy)
    told.engine.answer = lambda prompt: ["kind words"]
    again = told.chat.regenerate(withheld.id)
    list(
        told.chat.answer(
            again, told.engine, ReplySettings(Sampling(), template="chatml", moderation=told.moderation(policy))
        )
    )
    assert told.chat.entries[-1].text == "kind words"
    assert finding(told.chat.entries[-1]) is None


def test_after_a_blocked_first_message_the_chat_begins_with_the_next(told: Told) -> None:
    with pytest.raises(WithheldError):
        told.say("(illegal) secret", Policy(messages={"illegal": "block"}))
    told.say("hello")
    (listed,) = told.store.conversations()
    assert (listed.id, listed.title) == (told.chat.id, "hello")
    assert told.store.search("secret") == []


def test_a_reply_that_goes_on_is_seen_by_the_model_and_judged_whole(told: Told) -> None:
    told.engine.answer = lambda prompt: ["A kind ", "<fail>"]
    policy = Policy(replies={"hateful": "block"})
    with pytest.raises(EngineError):
        told.say("hello", policy)
    broken = told.chat.entries[-1]
    assert broken.text == "A kind "
    told.engine.answer = lambda prompt: ["word (hateful)"]
    reply = told.chat.resume(broken.id)
    list(
        told.chat.answer(
            reply, told.engine, ReplySettings(Sampling(), template="chatml", moderation=told.moderation(policy))
        )
    )
    assert told.engine.prompts[-1].endswith("A kind ")
    assert told.engine.judged[-1] == "A kind word (hateful)"
    assert told.chat.entries[-1].text == WITHHELD


def test_a_withheld_reply_cannot_go_on(told: Told) -> None:
    told.engine.answer = lambda prompt: ["(hateful)"]
    withheld = told.say("hello", Policy(replies={"hateful": "block"}))
    with pytest.raises(PromptError, match="withheld"):
        told.chat.resume(withheld.id)
