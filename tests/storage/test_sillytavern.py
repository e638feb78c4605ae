"""Chats of SillyTavern as its versions write them, and whatever a broken one holds."""

import copy
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.errors import StorageError
from menny.storage import ChatStore
from menny.storage.formats.archive import unpack
from menny.storage.formats.json import as_json, checked, from_json
from menny.storage.formats.sillytavern import from_sillytavern, is_sillytavern

HEAD: dict[str, Any] = {
    "user_name": "Ada",
    "character_name": "Seraphina",
    "create_date": "2024-03-05 @12h 30m 11s 123ms",
    "chat_metadata": {"integrity": "5c8d3f0e-6a0e-4c5e-9d0a-1f2e3d4c5b6a", "note_prompt": ""},
}
GREETING: dict[str, Any] = {
    "name": "Seraphina",
    "is_user": False,
    "is_system": False,
    "send_date": "March 5, 2024 12:30pm",
    "mes": "You are safe here, Ada.",
    "swipe_id": 1,
    "swipes": ["Good morning.", "You are safe here, Ada.", "Who is there?"],
    "extra": {},
}
QUESTION = {"name": "Ada", "is_user": True, "is_system": False, "send_date": 1709641860000, "mes": "Where am I?"}
ANSWER = {**GREETING, "send_date": "2024-03-05T12:32:00.000Z", "mes": "In my glade.", "swipes": ["In my glade."]}
ANSWER["swipe_id"] = 0


def jsonl(*lines: Any) -> bytes:
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()


CHAT = jsonl(HEAD, GREETING, QUESTION, ANSWER)


def told(data: bytes) -> list[tuple[str, str]]:
    """Role and text on the active path."""
    transcript, _ = from_sillytavern(data)
    by_id = {entry.id: entry for entry in checked(transcript).entries}
    return [(by_id[one].role, by_id[one].text) for one in transcript.active]


def test_a_chat_comes_in_with_its_alternatives_its_times_and_its_question_as_title() -> None:
    assert is_sillytavern(CHAT)
    transcript, left_out = from_sillytavern(CHAT)
    assert left_out == []
    assert told(CHAT) == [
        ("assistant", "You are safe here, Ada."),
        ("user", "Where am I?"),
        ("assistant", "In my glade."),
    ]
    first = [entry.text for entry in transcript.entries if entry.parent is None]
    assert first == ["Good morning.", "You are safe here, Ada.", "Who is there?"]
    assert transcript.conversation.title == "Where am I?"
    times = [entry.created for entry in transcript.entries if entry.id in transcript.active]
    assert times == [datetime(2024, 3, 5, 12, 30).timestamp(), 1709641860.0, 1709641920.0]


def test_it_can_be_kept_and_exported_and_a_second_import_adds_only_what_is_new() -> None:
    transcript, _ = from_sillytavern(CHAT)
    assert from_json(as_json(transcript)) == transcript
    store = ChatStore(None)
    assert store.merge([transcript]) == 5
    longer = from_sillytavern(CHAT + b"\n" + jsonl({**QUESTION, "mes": "Who are you?"}))[0]
    assert store.merge([longer]) == 1
    assert store.merge([longer]) == 0
    assert len(store.transcript(transcript.conversation.id).entries) == 6


def test_it_is_imported_as_any_other_chat() -> None:
    unpacked = unpack("chat.jsonl", CHAT)
    (transcript,) = unpacked.transcripts
    assert transcript == from_sillytavern(CHAT)[0]
    for data in (jsonl(HEAD), jsonl(HEAD, "x")):
        with pytest.raises(StorageError, match=r"chat\.jsonl: there is no message in it"):
            unpack("chat.jsonl", data)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"swipe_id": 0, "swipes": ["a", "b"], "mes": "edited"}, ["edited", "b"]),
        ({"swipe_id": 9, "swipes": ["a", "b"], "mes": "b"}, ["a", "b"]),
        ({"swipe_id": None, "swipes": ["a"], "mes": "b"}, ["a", "b"]),
        ({"swipes": "a", "mes": "b"}, ["b"]),
        ({"swipes": [None, 3, {}, "", "a"], "mes": "a"}, ["a"]),
        ({"swipes": ["a", "a", "a"], "swipe_id": 2, "mes": "a"}, ["a"]),
        ({"swipes": [], "swipe_id": 0, "mes": "a"}, ["a"]),
        ({"mes": "", "extra": {"image": "x.png"}}, ["(a picture)"]),
    ],
)
def test_odd_alternatives_are_read_as_far_as_they_go(message: dict[str, Any], shown: list[str]) -> None:
    data = jsonl(HEAD, {"name": "S", "is_user": False, **message})
    transcript, _ = from_sillytavern(data)
    assert [entry.text for entry in transcript.entries] == shown
    assert told(data)[-1][1] == (message["mes"] or "(a picture)")


def test_hidden_messages_stay_and_notes_go_with_a_notice() -> None:
    hidden = {**QUESTION, "is_system": True}
    note = {"name": "Note", "is_system": True, "mes": "remember", "extra": {"type": "comment"}}
    narrator = {**ANSWER, "mes": "It rains.", "extra": {"type": "narrator"}, "swipes": []}
    transcript, left_out = from_sillytavern(jsonl(HEAD, hidden, note, narrator, {**ANSWER, "mes": " ", "swipes": []}))
    assert [entry.text for entry in transcript.entries] == ["Where am I?", "It rains."]
    assert left_out == ["2 notes and messages of SillyTavern's own"]


def test_in_a_group_each_answer_names_its_speaker() -> None:
    other = {**ANSWER, "name": "Basil", "mes": "Mind the seedlings.", "swipes": []}
    assert told(jsonl(HEAD, QUESTION, ANSWER, other)) == [
        ("user", "Where am I?"),
        ("assistant", "Seraphina: In my glade."),
        ("assistant", "Basil: Mind the seedlings."),
    ]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (CHAT[:-30], 1),
        (CHAT.replace(b"\n", b"\r\n\r\n"), 0),
        (b"\xef\xbb\xbf" + CHAT, 0),
        (jsonl(HEAD, "nonsense", GREETING, [1], "7", {"mes": 3}, QUESTION), 4),
        (jsonl(GREETING, QUESTION), 0),
        (jsonl(HEAD, GREETING, "{" * 100_000), 1),
        (jsonl(HEAD, GREETING, {"name": "x", "is_user": True, "mes": "x", "y": [0] * 600_000}), 1),
        (jsonl(HEAD, GREETING) + b'\n{"mes": "\xff\xfe", "is_user": true}', 1),
    ],
    ids=["cut", "blank lines", "mark", "odd lines", "no head", "deep", "heavy", "no UTF-8"],
)
def test_what_cannot_be_read_is_counted_and_the_rest_comes_in(data: bytes, lines: int) -> None:
    assert is_sillytavern(data)
    transcript, left_out = from_sillytavern(data)
    assert checked(transcript).entries
    assert left_out == ([f"{lines} lines that can't be read"] if lines else [])


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"name: x", b'{"mapping": {}}', b'{"format": "menny-chat"}', b"\0"]
)
def test_other_files_are_none(data: bytes) -> None:
    assert not is_sillytavern(data)


@pytest.mark.parametrize("data", [jsonl(HEAD), jsonl(HEAD, {**QUESTION, "mes": ""}), jsonl(HEAD, "x")])
def test_a_chat_without_a_message_is_a_sentence(data: bytes) -> None:
    with pytest.raises(StorageError, match="no message in it"):
        from_sillytavern(data)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2024-03-05@12h30m11s", (2024, 3, 5, 12, 30, 11)),
        ("2024-03-05 @12h 30m 11s 123ms", (2024, 3, 5, 12, 30, 11)),
        ("March 5, 2024 1:05am", (2024, 3, 5, 1, 5)),
        ("March 5, 2024 12:30:07pm", (2024, 3, 5, 12, 30, 7)),
        ("2024-03-05T12:30:11", (2024, 3, 5, 12, 30, 11)),
    ],
)
def test_every_form_of_a_date_is_read(date: str, expected: tuple[int, ...]) -> None:
    transcript, _ = from_sillytavern(jsonl(HEAD, {**QUESTION, "send_date": date}))
    assert int(transcript.entries[0].created) == int(datetime(*expected).timestamp())  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted({*HEAD, *GREETING})


@given(st.integers(0, 3), st.sampled_from(KEYS), JSON, st.sampled_from(KEYS), JSON)
def test_whatever_stands_in_a_field_gives_a_tree_or_a_sentence(
    line: int, key: str, value: Any, other: str, second: Any
) -> None:
    lines: list[Any] = copy.deepcopy([HEAD, GREETING, QUESTION, ANSWER])
    lines[line] |= {key: value, other: second}
    data = jsonl(*lines)
    try:
        transcript, _ = from_sillytavern(data)
    except StorageError:
        return
    assert from_json(as_json(checked(transcript))) == transcript


def test_what_a_model_thought_comes_in_with_each_alternative() -> None:
    infos = [{"extra": {"reasoning": "Morning, surely."}}, {"extra": {}}, {"extra": {"reasoning": 7}}]
    greeting = {**GREETING, "swipe_info": infos, "extra": {"reasoning": "She looks lost."}}
    asked = {**QUESTION, "extra": {"reasoning": "not a model's"}}
    entries = from_sillytavern(jsonl(HEAD, greeting, asked, ANSWER))[0].entries
    assert [(entry.text, entry.thought) for entry in entries] == [
        ("Good morning.", "Morning, surely."),
        ("You are safe here, Ada.", "She looks lost."),
        ("Who is there?", ""),
        ("Where am I?", ""),
        ("In my glade.", ""),
    ]
