"""What is deleted can be brought back where it was deleted, or is asked about before."""

from streamlit.testing.v1 import AppTest

from menny.storage import ChatStore
from menny.ui.chat.unsent import Unsent, add_unsent, put_unsent, remove_unsent, unsent_of
from menny.ui.session import KEY, Session
from menny.ui.sidebar.chat_list import DELETE, _act
from tests.ui.conftest import Stage, say, texts


def session_of(page: AppTest) -> Session:
    session = page.session_state[KEY]
    assert isinstance(session, Session)
    return session


def store_of(page: AppTest) -> ChatStore:
    store = session_of(page).chats.store
    assert store
    return store


def delete_chat(page: AppTest) -> AppTest:
    """Delete the open chat, as the menu of its row does."""
    session, store = session_of(page), store_of(page)
    conversation = store.conversation(session.chat.id)
    assert conversation
    _act(session, store, conversation, DELETE)
    return page.run()


def buttons(page: AppTest, key: str) -> list[str]:
    return [str(one.key) for one in page.button if str(one.key).startswith(key)]


def test_a_chat_is_brought_back_in_the_sidebar_and_a_message_above_the_box(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    chat = session_of(page).chat
    delete_chat(page)
    assert [one.key for one in page.sidebar.button if one.key == "take-back"] == ["take-back"]
    page.button(key="take-back").click().run()
    assert session_of(page).chat.id == chat.id
    assert buttons(page, "take-back") == []
    session_of(page).delete(chat.entries[0].id)
    page.button(key="new_chat").click().run()
    assert buttons(page, "take-back") == []  # it is about another chat
    session_of(page).open(chat.id)
    page.run()
    assert buttons(page, "take-back") == ["take-back"]
    assert [one for one in page.sidebar.button if one.key == "take-back"] == []
    page.button(key="take-back").click().run()
    assert [entry.text for entry in chat.entries] == ["Hello", "You said: Hello "]


def test_a_line_that_a_persona_forgot_is_brought_back_in_its_memory(stage: Stage) -> None:
    page = stage.open_page()
    facts = store_of(page).facts
    facts.add("menny", ["They sing.", "They have a cat."])
    before = facts.of("menny")
    page.button(key="open-memory").click().run()
    page.button(key=f"drop-fact-{before[0].id}").click().run()
    assert facts.of("menny") == before[1:]
    assert "“They sing.” was forgotten." in [str(one.value).replace("\\", "") for one in page.caption]
    page.button(key="take-back").click().run()
    assert facts.of("menny") == before
    page.button(key=f"drop-fact-{before[0].id}").click().run()
    session_of(page).close_dialog()
    assert session_of(page).undo is None


def test_a_removed_message_comes_back_in_its_place(stage: Stage) -> None:
    page = say(stage.open_page(), "Hello")
    chat = session_of(page).chat
    for text in ("one", "two", "three"):
        add_unsent(chat, Unsent(text, is_held=True))
    second = unsent_of(chat)[1]
    remove_unsent(chat, second.id)
    put_unsent(chat, second, 1)
    assert unsent_of(chat)[1] == second
    assert [one.text for one in unsent_of(chat)] == ["one", "two", "three"]


def test_a_chat_leaves_the_bin_only_after_a_question(stage: Stage) -> None:
    page = stage.open_page()
    for text in ("one", "two", "three"):
        say(page, text)
        delete_chat(page)
    store = store_of(page)
    newest, *others = [one.id for one in store.deleted_conversations()]
    page.button(key="see-bin").click().run()
    page.button(key=f"ask-purge-{newest}").click().run()
    assert buttons(page, "purge-") == [f"purge-{newest}"]
    page.button(key=f"keep-{newest}").click().run()
    page.button(key=f"ask-purge-{newest}").click().run()
    assert len(store.deleted_conversations()) == 3
    page.button(key=f"purge-{newest}").click().run()
    assert [one.id for one in store.deleted_conversations()] == others
    assert "Delete all 2 chats in it for good? It can't be undone." in [one.value for one in page.markdown]
    page.button(key="empty-bin").click().run()
    assert store.deleted_conversations() == []


def test_the_question_before_all_is_deleted_counts_the_chats(stage: Stage) -> None:
    page = stage.open_page()

    def asked() -> str:
        page.button(key="delete-all").click().run()
        question = next(str(one.value) for one in page.markdown if "It can't be undone." in str(one.value))
        page.button(key="keep-all").click().run()
        return question.split(" and makes")[0]

    assert asked() == "This empties the bin"
    say(page, "one")
    assert asked() == "This deletes the only chat, empties the bin"
    page.button(key="new_chat").click().run()
    say(page, "two")
    assert asked() == "This deletes all 2 chats, empties the bin"
    page.button(key="delete-all").click().run()
    page.button(key="delete-all-now").click().run()
    assert "All chats were deleted\\." in [one.value for one in page.caption]
    assert not texts(page)
    assert buttons(page, "open-") == ["open-memory"]  # of the settings; no chat
