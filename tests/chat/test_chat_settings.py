"""A chat's settings as they are kept: read leniently, over those of its persona."""

from menny.chat import Chat
from menny.chat.chat_settings import ChatSettings
from menny.storage import ChatStore


def test_what_is_broken_is_left_out_and_the_rest_holds() -> None:
    kept = {
        "temperature": "hot",
        "max_tokens": 2.5,
        "top_k": True,
        "min_p": float("nan"),
        "memory": "all",
        "thinking": "maybe",
        "memory_all_chats": 1,
        "persona": ["nora"],
        "model": "here",
        "top_p": 1,
        "seed": 0,
        "unknown": {"key": 1},
    }
    assert ChatSettings.read(kept) == ChatSettings(model="here", top_p=1, seed=0)


def test_a_chats_own_values_go_before_those_of_its_persona() -> None:
    chosen = ChatSettings(temperature=0.0, top_k=5)
    assert chosen.over({"temperature": 0.7, "top_k": 0, "top_p": 0.9}) == {"temperature": 0.0, "top_k": 5, "top_p": 0.9}


def test_settings_of_every_kind_come_back_from_the_store() -> None:
    chosen = {
        "persona": "nora",
        "model": "here",
        "temperature": 0.25,
        "max_tokens": 99,
        "seed": 7,
        "memory": "turns",
        "memory_turns": 2,
        "memory_all_chats": True,
        "thinking": "on",
        "thought_tokens": 64,
        "folder": "Work",
    }
    store = ChatStore()
    chat = Chat(store)
    chat.set_settings(**chosen)
    chat.begin("Hello")
    assert ChatSettings.read(Chat(store, chat.id).settings) == ChatSettings(**chosen)  # type: ignore[arg-type]
    chat.set_settings(temperature=None)
    assert ChatSettings.read(chat.settings).temperature is None
