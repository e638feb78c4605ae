"""A later export of the same chats from ChatGPT: what is new comes in, and what is here stays where it is."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from menny.storage import ChatStore
from tests.storage.test_chatgpt import GARDEN, export, node, read


def test_a_later_export_in_which_messages_moved_adds_what_is_new_and_leaves_the_others_in_their_place() -> None:
    store = ChatStore()
    store.merge(read(GARDEN))
    later = export(
        *GARDEN["mapping"].values(),
        node("between", "second", "assistant", "Bone meal is good.", recipient="all"),
        {**GARDEN["mapping"]["more"], "parent": "between"},
        node("thanks", "last", "user", "Thanks!"),
        node("welcome", "thanks", "assistant", "Any time."),
    )
    assert store.merge(read(later)) == 3
    (chat,) = store.conversations()
    path = [entry.text for entry in store.path(chat.id)]
    assert path == ["Why are my roses sad?", "Feed them.", "With what?", "Bone meal.", "Thanks!", "Any time."]
    assert store.merge(read(later)) == 0
    assert len(store.transcript(chat.id).entries) == 8


@given(st.lists(st.integers(0, 6), min_size=7, max_size=7), st.lists(st.integers(0, 8), min_size=9, max_size=9))
def test_wherever_messages_move_none_is_lost_or_there_twice(before: list[int], after: list[int]) -> None:
    def chat(parents: list[int]) -> dict[str, Any]:
        places = [f"m{parent % number}" if number else None for number, parent in enumerate(parents)]
        roles = ["user", "assistant"]
        return export(*(node(f"m{at}", place, roles[at % 2], f"text {at}") for at, place in enumerate(places)))

    store = ChatStore()
    assert store.merge(read(chat(before))) == 7
    assert store.merge(read(chat(after))) == 2
    (conversation,) = store.conversations()
    entries = store.transcript(conversation.id).entries
    assert sorted(entry.text for entry in entries) == [f"text {number}" for number in range(9)]
    assert store.path(conversation.id)[-1].text == "text 8"
