"""A conversation copied up to a message: with its versions, under ids of its own, linked back; and titles replaced."""

from pathlib import Path

from menny.storage import COPIED_FROM, ChatStore, Opening, new_id
from tests.storage.talking import say, texts


def test_a_copy_holds_the_messages_up_to_one_with_their_versions_and_goes_its_own_way(store: ChatStore) -> None:
    chat = new_id()
    question, reply = store.ask(
        chat, None, "One", "menny", "little", {"temperature": 0.2}, None, Opening(("Hi", "Ho"), 1, "menny")
    )
    store.finish(reply.id, "first", "stop", mark=1)
    store.finish(store.ask_again(question.id, "menny", "little").id, "second", "stop")
    say(store, "Two", "last", chat)
    chosen = store.path(chat)[2]

    copied = store.copy(chosen.id)

    assert texts(store, copied) == ["Ho", "One", "second"]
    path = store.path(copied)
    assert [len(entry.alternatives) for entry in path] == [2, 1, 2]
    assert not {entry.id for entry in store.transcript(chat).entries} & {entry.id for entry in path}
    other = store.entry(path[2].alternatives[0])
    assert (other.text, other.extra, other.persona, other.model) == ("first", {"mark": 1}, "menny", "little")
    conversation = store.conversation(copied)
    assert conversation is not None
    assert conversation.title == "One (copy)"
    assert conversation.settings == {"temperature": 0.2, COPIED_FROM: {"chat": chat, "message": chosen.id}}
    say(store, "Other", "way", copied)
    store.choose(other.id)
    assert texts(store, copied) == ["Ho", "One", "first"]
    assert texts(store, chat) == ["Ho", "One", "second", "Two", "last"]
    assert store.conversation(store.copy(path[0].id)).title == "One (copy)"  # type: ignore[union-attr]
    assert [hit.conversation.id for hit in store.search("way")] == [copied]


def test_what_names_a_message_beside_a_chat_names_the_copys(store: ChatStore) -> None:
    chat = say(store, "One", "first")
    say(store, "Two", "second", chat)
    path = store.path(chat)
    store.set_metadata(path[2].id, context={"pieces": [{"digest": path[0].id}]})
    store.finish(path[3].id, "second", "stop", receipt={"base": path[1].id, "same": 3})
    store.set_settings(chat, noted=path[3].id, facts={"menny": ["They sing."]})
    whole, half = store.copy(path[3].id), store.copy(path[1].id)
    copied = store.path(whole)
    assert copied[2].extra["context"] == {"pieces": [{"digest": copied[0].id}]}
    assert copied[3].extra["receipt"] == {"base": copied[1].id, "same": 3}
    noted = [store.conversation(one).settings["noted"] for one in (whole, half)]  # type: ignore[union-attr]
    assert noted == [copied[3].id, store.path(half)[1].id]


def test_a_title_is_replaced_only_if_nobody_has_changed_it(file: Path) -> None:
    store = ChatStore(file)
    chat = say(store, "What is rain?", "Water.")
    before = store.revision(chat)
    assert store.retitle(chat, "About rain", "What is rain?")
    assert not store.retitle(chat, "Weather", "What is rain?")
    assert store.conversations()[0].title == "About rain"
    assert store.revision(chat) > before
    assert store.search("About")
    store.close()
