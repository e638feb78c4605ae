"""What is said stays: conversations, their trees, their list, and finding them again."""

import time
from pathlib import Path

import pytest

from menny.errors import StorageError
from menny.storage import ChatStore, ReplyStats, new_id
from menny.storage.rows import title_of
from menny.storage.upkeep import DAY, KEEP_DELETED
from tests.storage.talking import say, texts


def test_what_was_said_is_there_after_a_restart(file: Path) -> None:
    first = ChatStore(file)
    chat = say(first, "Hi", "Hello Ada. ")
    first.close()
    second = ChatStore(file)
    question, reply = second.path(chat)
    assert (question.role, question.text) == ("user", "Hi")
    assert (reply.role, reply.text, reply.status, reply.finish_reason) == ("assistant", "Hello Ada. ", "whole", "stop")
    assert (reply.persona, reply.model) == ("menny", "little")
    second.close()


def test_the_file_is_for_its_owner_only(store: ChatStore, file: Path) -> None:
    say(store, "Hi", "Hello")
    assert {path.stat().st_mode & 0o777 for path in file.parent.glob("chats.db*") if path.is_file()} == {0o600}


def test_a_question_is_on_the_disk_before_its_reply_begins(store: ChatStore, file: Path) -> None:
    chat = new_id()
    store.ask(chat, None, "Anybody there?")
    other = ChatStore(file)
    assert [(entry.text, entry.status) for entry in other.path(chat)] == [("Anybody there?", "whole"), ("", "growing")]
    other.close()


def test_a_growing_reply_is_read_by_others_as_it_grows(store: ChatStore, file: Path) -> None:
    chat = new_id()
    _, reply = store.ask(chat, None, "Count")
    other = ChatStore(file)
    store.grow(reply.id, "One, two")
    assert (other.path(chat)[1].text, other.path(chat)[1].status) == ("One, two", "growing")
    store.finish(reply.id, "One, two, three.", "stop", stats=ReplyStats(completion_tokens=5))
    assert (other.path(chat)[1].text, other.path(chat)[1].stats.completion_tokens) == ("One, two, three.", 5)
    other.close()


def test_a_reply_whose_writer_is_gone_was_interrupted_and_can_go_on(store: ChatStore, file: Path) -> None:
    other = ChatStore(file)
    chat = new_id()
    _, reply = other.ask(chat, None, "Count")
    other.grow(reply.id, "One, two")
    before = store.revision(chat)
    other.close()
    seen = store.entry(reply.id)
    assert (seen.text, seen.status, seen.can_go_on) == ("One, two", "interrupted", True)
    ChatStore(file).close()
    assert store.revision(chat) != before
    assert store.reopen(reply.id).status == "growing"
    store.finish(reply.id, "One, two, three.", "stop")
    assert not store.entry(reply.id).can_go_on


def test_asking_again_makes_an_alternative_and_each_keeps_its_way_on(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    question, first = store.path(chat)
    say(store, "And?", "And so on", chat)
    again = store.ask_again(question.id)
    store.finish(again.id, "Good day", "stop")
    assert texts(store, chat) == ["Hi", "Good day"]
    assert store.path(chat)[1].alternatives == (first.id, again.id)
    store.choose(first.id)
    assert texts(store, chat) == ["Hi", "Hello", "And?", "And so on"]
    store.choose(again.id)
    assert texts(store, chat) == ["Hi", "Good day"]


def test_another_first_question_is_an_alternative_too(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    first = store.path(chat)[0]
    store.ask(chat, None, "Good morning")
    assert texts(store, chat) == ["Good morning", ""]
    store.choose(first.id)
    assert texts(store, chat) == ["Hi", "Hello"]


def test_choosing_a_message_far_off_the_path_leads_to_it(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    say(store, "Old way", "Old answer", chat)
    deep = store.path(chat)[-1]
    store.ask(chat, None, "New start")
    store.choose(deep.id)
    assert texts(store, chat)[-1] == "Old answer"


def test_deleting_from_a_message_on_can_be_undone(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    say(store, "More", "More it is", chat)
    more = store.path(chat)[2]
    store.delete_branch(more.id)
    assert texts(store, chat) == ["Hi", "Hello"]
    assert store.search("more") == []
    store.restore_branch(more.id)
    assert texts(store, chat) == ["Hi", "Hello", "More", "More it is"]


def test_where_the_chosen_alternative_was_deleted_another_takes_its_place(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    again = store.ask_again(store.path(chat)[0].id)
    store.delete_branch(again.id)
    assert texts(store, chat) == ["Hi", "Hello"]
    assert len(store.path(chat)[1].alternatives) == 1


def test_the_list_has_the_pinned_first_then_the_latest(store: ChatStore) -> None:
    one, two, three = (say(store, text, "ok") for text in ("one", "two", "three"))
    store.pin(one, True)
    say(store, "again", "ok", two)
    assert [chat.id for chat in store.conversations()] == [one, two, three]
    assert [chat.id for chat in store.conversations(limit=1)] == [one]
    store.pin(one, False)
    assert store.conversations()[-1].id == one


def test_a_chat_is_named_by_its_beginning_and_then_by_its_user(store: ChatStore) -> None:
    chat = say(store, "  What is\nthe capital of France? ", "Paris.")
    assert store.conversations()[0].title == "What is the capital of France?"
    store.rename(chat, " Travel \n plans ")
    store.rename(chat, "  ")
    assert store.conversations()[0].title == "Travel plans"


def test_a_long_beginning_is_cut_between_words() -> None:
    title = title_of("word, " * 40)
    assert title == "word, " * 9 + "word …"
    assert len(title_of("x" * 500)) <= 62


def test_a_deleted_chat_leaves_list_and_search_and_comes_back(store: ChatStore) -> None:
    chat = say(store, "Find me", "Here")
    store.delete(chat)
    assert (store.conversations(), store.search("find")) == ([], [])
    store.undelete(chat)
    assert (len(store.conversations()), len(store.search("find"))) == (1, 1)


def test_what_was_deleted_long_ago_is_gone_once_two_starts_agree_that_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ChatStore(file)
    old, kept = say(store, "Old secret", "ok"), say(store, "Kept", "ok")
    say(store, "Old remark", "ok", kept)
    store.delete(old)
    store.delete_branch(store.path(kept)[2].id)
    store.close()
    now = time.time()
    for later in (KEEP_DELETED + 60, KEEP_DELETED + DAY):
        monkeypatch.setattr(time, "time", lambda at=now + later: at)
        again = ChatStore(file)
        assert again.conversation(old) is not None
        again.close()
    monkeypatch.setattr(time, "time", lambda: now + KEEP_DELETED + DAY + 120)
    again = ChatStore(file)
    assert again.conversation(old) is None
    assert len(again.transcript(kept).entries) == 2
    again.close()
    content = file.read_bytes()
    assert b"Old secret" not in content
    assert b"secret" not in content  # nor does the search index know the word


YEAR = 365 * DAY


@pytest.mark.parametrize("wrong", [-60 * YEAR, -10 * YEAR, -31 * DAY, 31 * DAY, 10 * YEAR])
@pytest.mark.parametrize("when", ["deleting", "starting"])
def test_a_clock_that_is_wrong_for_a_moment_removes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, wrong: float, when: str
) -> None:
    right = time.time()

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: max(right + seconds, 10.0))

    store = ChatStore(file)
    chat, branched = say(store, "Deleted", "just now"), say(store, "Kept", "ok")
    say(store, "A remark", "a reply", branched)
    remark = store.path(branched)[2]
    set_clock(wrong if when == "deleting" else 0)
    store.delete(chat)
    store.delete_branch(remark.id)
    store.close()
    for at in (wrong if when == "starting" else 0, 60, 2 * DAY, 29 * DAY):
        set_clock(at)
        ChatStore(file).close()
    again = ChatStore(file)
    again.undelete(chat)
    again.restore_branch(remark.id)
    assert texts(again, chat) == ["Deleted", "just now"]
    assert texts(again, branched) == ["Kept", "ok", "A remark", "a reply"]
    again.close()


def test_two_branches_deleted_while_the_clock_stands_still_come_back_one_at_a_time(
    store: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = say(store, "Hi", "Hello")
    say(store, "More", "More it is", chat)
    monkeypatch.setattr(time, "time", lambda: 10.0)
    path = store.path(chat)
    store.delete_branch(path[3].id)
    store.delete_branch(path[2].id)
    store.restore_branch(path[2].id)
    assert texts(store, chat) == ["Hi", "Hello", "More"]


def test_notes_of_other_rooms_stay_beside_a_message(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    reply = store.path(chat)[1]
    store.set_metadata(reply.id, summary={"text": "They greeted.", "tokens": 4}, verdict="fine")
    store.set_metadata(reply.id, verdict=None, folded=True)
    assert store.entry(reply.id).extra == {"summary": {"text": "They greeted.", "tokens": 4}, "folded": True}


def test_whoever_looks_hears_of_every_change(store: ChatStore) -> None:
    chat = say(store, "Hi", "Hello")
    reply = store.path(chat)[1]
    seen = {store.revision(chat)}
    for change in (
        lambda: store.reopen(reply.id),
        lambda: store.grow(reply.id, "Hello the"),
        lambda: store.finish(reply.id, "Hello there", "stop"),
        lambda: store.set_metadata(reply.id, verdict="fine"),
        lambda: store.choose(reply.id),
        lambda: store.rename(chat, "Greeting"),
        lambda: store.delete_branch(reply.id),
    ):
        change()
        assert store.revision(chat) not in seen
        seen.add(store.revision(chat))


def test_the_list_is_not_stirred_by_every_word(store: ChatStore) -> None:
    chat = new_id()
    _, reply = store.ask(chat, None, "Hi")
    listed = store.revision(chat)[1]
    store.grow(reply.id, "Hel")
    assert store.revision(chat)[1] == listed


def test_an_id_that_is_not_here_is_told_or_empty(store: ChatStore) -> None:
    assert store.path("nothing") == []
    assert store.conversation("nothing") is None
    with pytest.raises(StorageError, match="isn't here any more"):
        store.entry("nothing")
    with pytest.raises(StorageError, match="isn't here any more"):
        store.transcript("nothing")


def test_without_a_file_a_store_lives_in_memory() -> None:
    store = ChatStore()
    chat = say(store, "Hi", "Hello")
    assert texts(store, chat) == ["Hi", "Hello"]
    assert store.search("hel")[0].conversation.id == chat
    assert ChatStore().conversations() == []


def test_the_settings_of_a_chat_change_by_key_and_are_counted_as_a_change(store: ChatStore) -> None:
    chat = new_id()
    store.set_settings(chat, temperature=1.0)  # there is no such chat: nothing to set
    store.ask(chat, None, "Hi", settings={"temperature": 0.2, "persona": "nora"})
    before = store.revision(chat)[0]
    store.set_settings(chat, temperature=None, note="Be brief.")
    kept = store.conversation(chat)
    assert kept is not None
    assert kept.settings == {"persona": "nora", "note": "Be brief."}
    assert store.revision(chat)[0] > before
