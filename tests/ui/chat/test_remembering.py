"""Memory across chats on the page: off means off; on, facts are noted at once or in the quiet, and told in new ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from menny.chat import Chat, ReplySettings
from menny.config.settings import change_settings
from menny.engine import SamplingParams
from menny.errors import EngineError
from menny.models.loader import AS_FITS, ModelSource
from menny.storage import ChatStore, facts_as_files, facts_of_files, pack, unpack
from menny.ui.chat import chats as chats_module
from menny.ui.chat import quiet_job
from menny.ui.chat.chats import Chats
from menny.ui.chat.remembering import facts_told, forget_refused, note_asked, telling
from menny.ui.shared.shared_engine import SharedEngine
from tests.ui.conftest import Stage
from tests.ui.conftest import say as say_on
from tests.ui.fake_engine import FakeEngine

SOURCE = ModelSource(Path("model"), AS_FITS)
SETTINGS = ReplySettings(SamplingParams(max_tokens=20), template="chatml")


def listing(prompt: str) -> Iterable[str]:
    return ["- They have a cat."] if "List lasting facts" in prompt else ["Fine."]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine(listing)
    engines = SharedEngine(lambda _: engine)
    monkeypatch.setattr(chats_module, "shared_engine", lambda: engines)
    monkeypatch.setattr(quiet_job, "QUIET_SECONDS", 0.05)
    change_settings(titles=False)
    return engine


@pytest.fixture
def chats(tmp_path: Path) -> Iterator[Chats]:
    chats = Chats(tmp_path / "chats.db")
    yield chats
    if chats.store:
        chats.store.close()


def store_of(chats: Chats) -> ChatStore:
    assert chats.store
    return chats.store


def say(chats: Chats, chat: Chat, text: str, *, is_quiet: bool = True) -> None:
    settings = telling(chats.store, chat, "nora", SETTINGS)
    reply = chat.begin(text, "nora")
    note_asked(chats.store, chat, "nora", reply)
    chats.answer(chat, reply, "model", SOURCE, settings, "nora").join(5)
    if is_quiet and chats._quiet:
        chats._quiet.join(5)


def test_facts_from_one_message_stand_side_by_side_with_the_way_to_it(stage: Stage) -> None:
    page = say_on(stage.open_page(), "I sing, and I have a cat.")
    session = page.session_state["menny"]
    facts = session.chats.store.facts
    facts.add("menny", ["They sing.", "They have a cat."], chat=session.chat.id, message=session.chat.entries[0].id)
    page.button(key="open-memory").click().run()
    assert not page.exception
    assert len([one for one in page.button if str(one.key).startswith("source-")]) == 2
    page.text_input(key="new-fact").set_value("I live in Ghent.")
    page.button(key="add-fact-now").click().run()
    assert [one.text for one in facts.of("menny")] == ["They sing.", "They have a cat.", "I live in Ghent."]


def test_off_means_that_nothing_is_asked_written_or_told(engine: FakeEngine, chats: Chats) -> None:
    store_of(chats).facts.add("nora", ["They sing."])
    chat = chats.new()
    say(chats, chat, "Remember that I have a cat.")
    say(chats, chat, "Hello")
    assert len(engine.prompts) == 2
    assert "They sing." not in "".join(engine.prompts)
    assert [fact.text for fact in store_of(chats).facts.all()] == ["They sing."]
    assert set(chat.settings) == set()


def test_on_facts_are_noted_at_once_and_in_the_quiet_and_told_in_the_next_chat(
    engine: FakeEngine, chats: Chats
) -> None:
    change_settings(remembering=["nora"])
    chat = chats.new()
    say(chats, chat, "Remember that I sing.", is_quiet=False)
    (fact,) = store_of(chats).facts.of("nora")
    assert (fact.text, fact.chat, fact.message) == ("I sing.", chat.id, chat.entries[0].id)
    assert chats._quiet
    chats._quiet.join(5)
    assert [one.text for one in store_of(chats).facts.of("nora")] == ["I sing.", "They have a cat."]
    say(chats, chats.new(), "Hello")
    assert "What you remember about the user:\n- I sing.\n- They have a cat." in engine.prompts[2]
    change_settings(remembering=None)
    assert facts_told(chats.store, chats.new(), "nora") == ()


def test_a_chat_that_was_left_for_another_is_noted_from_too(
    engine: FakeEngine, chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_settings(remembering=["nora"])
    monkeypatch.setattr(quiet_job, "QUIET_SECONDS", 0.5)
    first, second = chats.new(), chats.new()
    say(chats, first, "I have a cat.", is_quiet=False)
    say(chats, second, "Hello", is_quiet=True)
    asked = [prompt for prompt in engine.prompts if "List lasting facts" in prompt]
    assert len(asked) == 2
    assert "I have a cat." in asked[0]


def test_a_noting_gives_way_to_a_reply(engine: FakeEngine, chats: Chats) -> None:
    change_settings(remembering=["nora"])
    engine.pause = 0.3
    chat = chats.new()
    say(chats, chat, "I have a cat.", is_quiet=False)
    quiet = chats._quiet
    assert quiet
    while len(engine.prompts) < 2:  # until it is asked
        quiet.join(0.02)
    reply = chat.begin("Hello", "nora")
    chats.answer(chat, reply, "model", SOURCE, SETTINGS, "nora").join(5)
    quiet.join(5)
    assert store_of(chats).facts.all() == []
    if chats._quiet:
        chats._quiet.join(5)
    assert [fact.text for fact in store_of(chats).facts.all()] == ["They have a cat."]


def test_temporary_and_deleted_chats_leave_nothing(engine: FakeEngine, chats: Chats) -> None:
    change_settings(remembering=["nora"])
    store_of(chats).facts.add("nora", ["They sing."])
    say(chats, chats.new(is_temporary=True), "Remember that I have a cat.")
    deleted = chats.new()
    say(chats, deleted, "I have a cat.", is_quiet=False)
    store_of(chats).delete(deleted.id)
    assert chats._quiet
    chats._quiet.join(5)
    assert [fact.text for fact in store_of(chats).facts.all()] == ["They sing."]
    assert "They sing." not in engine.prompts[0]


def test_what_is_noted_from_a_refused_message_is_forgotten(chats: Chats) -> None:
    change_settings(remembering=["nora"])
    chat = chats.new()
    reply = chat.begin("Remember that I sing.", "nora")
    note_asked(chats.store, chat, "nora", reply)
    forget_refused(chats.store, reply)
    assert store_of(chats).facts.all() == []


def test_a_model_that_fails_in_the_quiet_disturbs_nobody(engine: FakeEngine, chats: Chats) -> None:
    def failing(prompt: str) -> Iterable[str]:
        if "List lasting facts" in prompt:
            raise EngineError("no")
        return ["Fine."]

    change_settings(remembering=["nora"])
    engine.answer = failing
    chat = chats.new()
    say(chats, chat, "I have a cat.")
    assert chat.entries[-1].text == "Fine."
    assert store_of(chats).facts.all() == []


def test_facts_come_back_from_an_archive_once(chats: Chats) -> None:
    facts = store_of(chats).facts
    facts.add("nora", ["They sing.", "They have a cat."], "model", "c", "m")
    unpacked = unpack("menny.zip", pack([], facts_as_files(facts.all())))
    found = facts_of_files(unpacked.files)
    assert found == facts.all()
    elsewhere = ChatStore()
    assert (elsewhere.facts.merge(found), elsewhere.facts.merge(found)) == (2, 0)
    assert elsewhere.facts.all() == facts.all()


@pytest.mark.parametrize(
    "listed",
    [b"[1]", b'[{"id": "", "persona": "p", "text": "t"}]', b'[{"id": "1", "persona": "p", "text": " "}]', b"[]"],
)
def test_what_is_no_fact_in_an_archive_is_left_out(listed: bytes) -> None:
    assert facts_of_files({"memory/facts.json": listed}) == []
