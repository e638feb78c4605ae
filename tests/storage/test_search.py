"""Finding a chat again by its words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.storage import ChatStore
from tests.storage.talking import say


def found(store: ChatStore, text: str) -> list[str]:
    return [hit.conversation.title for hit in store.search(text)]


def marked(store: ChatStore, text: str) -> list[str]:
    return [piece for hit in store.search(text) for piece, is_match in hit.excerpt if is_match]


@pytest.fixture
def library(store: ChatStore) -> ChatStore:
    say(store, "Tomatoes", "Yellow leaves want nitrogen, and the Café au lait too.")
    say(store, "Roses", "Water them deep. <b>Never</b> at noon.")
    say(store, "日本語の質問", "東京は日本の首都です。100% sure_thing 🙂")
    return store


@pytest.mark.parametrize(
    ("text", "titles", "match"),
    [
        ("tomatoes", ["Tomatoes"], ["Tomatoes"]),
        ("NITRO", ["Tomatoes"], ["nitrogen"]),
        ("cafe", ["Tomatoes"], ["Café"]),
        ("deep water", ["Roses"], ["Water", "deep"]),
        ("deep tomato", [], []),
        ("never", ["Roses"], ["Never"]),
        ("日本", ["日本語の質問"], ["日本"]),
        ("首都", ["日本語の質問"], ["首都"]),
        ("首都 東京", ["日本語の質問"], ["首都"]),
        ("日本 sure", ["日本語の質問"], ["日本"]),
        ("日本 tomatoes", [], []),
        ("\0", [], []),
        ("\ud800", [], []),
        ("🙂", ["日本語の質問"], ["🙂"]),
        ("sure_thing", ["日本語の質問"], ["sure_thing"]),
        ("%", ["日本語の質問"], ["%"]),
        ("  ", [], []),
    ],
)
def test_words_and_their_beginnings_are_found_and_marked(
    library: ChatStore, text: str, titles: list[str], match: list[str]
) -> None:
    assert found(library, text) == titles
    assert marked(library, text) == match


def test_the_excerpt_is_the_text_as_it_was_written(library: ChatStore) -> None:
    (hit,) = library.search("never")
    assert "".join(piece for piece, _ in hit.excerpt) == "Water them deep. <b>Never</b> at noon."


def test_an_endless_word_makes_no_endless_excerpt(store: ChatStore) -> None:
    say(store, "A picture", "before data:" + "x" * 100_000 + " and after")
    for text, match in (("xxx", "x" * 100 + "…" + "x" * 100), ("before", "before")):
        (hit,) = store.search(text)
        assert (match, True) in hit.excerpt
        assert sum(len(piece) for piece, _ in hit.excerpt) < 500


def test_a_hit_tells_the_message_and_a_chat_is_listed_once(store: ChatStore) -> None:
    chat = say(store, "one apple", "two apples")
    say(store, "three apples", "four", chat)
    (hit,) = store.search("two")
    assert hit.entry == store.path(chat)[1].id
    assert len(store.search("apples")) == 1


def test_at_most_as_many_as_were_asked_for(store: ChatStore) -> None:
    for number in range(12):
        say(store, f"pear {number}", "ok")
    assert len(store.search("pear", limit=5)) == 5


@given(st.text(max_size=40) | st.sampled_from(['"', "a AND", "NEAR(", "title:x", "*", "-", "^a", "a OR b'"]))
def test_no_text_is_a_fault(text: str) -> None:
    store = ChatStore()
    say(store, text or "x", text)
    store.search(text)
    store.close()
