"""ChatGPT's export: nodes that were shown become messages, branches stay branches, and the same import adds nothing."""

import io
import json
import re
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.errors import StorageError
from menny.storage import ChatStore, unpack


def node(
    name: str, parent: str | None, role: str = "", text: str | None = None, kind: str = "text", **more: Any
) -> dict[str, Any]:
    message: dict[str, Any] | None = None
    if role:
        content: dict[str, Any] = {"content_type": kind, "parts": [text]}
        message = {"id": name, "author": {"role": role, "name": None}, "content": content, "create_time": 1.7e9, **more}
    return {"id": name, "message": message, "parent": parent, "children": []}


def export(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "title": "Garden",
        "create_time": 1.6e9,
        "update_time": 1.7e9,
        "mapping": {one["id"]: one for one in nodes},
        "current_node": nodes[-1]["id"],
        "conversation_id": "0d7e",
        "moderation_results": [],
        **more,
    }


GARDEN = export(
    node("root", None),
    node("system", "root", "system", ""),
    node("hidden", "system", "user", "profile", metadata={"is_visually_hidden_from_conversation": True}),
    node("ask", "hidden", "user", "Why are my roses sad?"),
    node("tool", "ask", "assistant", "search('roses')", kind="code"),
    node("painter", "tool", "assistant", '{"prompt": "roses"}', recipient="dalle.text2im"),
    node("found", "painter", "tool", "a web page"),
    node("first", "found", "assistant", "They are dry.", recipient="all"),
    node("second", "found", "assistant", "Feed them."),
    node("more", "second", "user", "With what?"),
    node("last", "more", "assistant", "Bone meal."),
)


def read(*chats: Any) -> list[Any]:
    return unpack("conversations.json", json.dumps(list(chats)).encode()).transcripts


def test_what_was_shown_is_a_chat_with_its_alternatives() -> None:
    store = ChatStore()
    (transcript,) = read(GARDEN)
    store.merge([transcript])
    path = store.path(transcript.conversation.id)
    assert [(entry.role, entry.text) for entry in path] == [
        ("user", "Why are my roses sad?"),
        ("assistant", "Feed them."),
        ("user", "With what?"),
        ("assistant", "Bone meal."),
    ]
    assert len(path[1].alternatives) == 2
    assert (transcript.conversation.title, transcript.conversation.updated) == ("Garden", 1.7e9)
    assert store.search("dry")[0].conversation.id == transcript.conversation.id


def test_the_same_export_again_adds_nothing() -> None:
    store = ChatStore()
    assert store.merge(read(GARDEN)) == 5
    assert store.merge(read(GARDEN)) == 0


def test_its_zip_is_read_too_and_other_files_in_it_are_left_alone() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("conversations.json", json.dumps([GARDEN]))
        made.writestr("chat.html", "<script>")
        made.writestr("dalle-generations/picture.webp", b"\0")
    assert len(unpack("export.zip", packed.getvalue()).transcripts) == 1


def test_a_large_export_in_numbered_parts_is_read_whole() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for number in range(3):
            made.writestr(f"conversations-{number:03}.json", json.dumps([{**GARDEN, "conversation_id": str(number)}]))
        made.writestr("export_manifest.json", "{}")
    assert len(unpack("export.zip", packed.getvalue()).transcripts) == 3


def test_what_was_spoken_is_text_and_a_lone_picture_keeps_its_answer_in_its_place() -> None:
    spoken = {"content_type": "audio_transcription", "text": "Can you hear me?", "direction": "in"}
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    chat = export(
        node("a", None, "user", kind="multimodal_text"),
        node("b", "a", "assistant", "Yes."),
        node("c", "b", "user", kind="multimodal_text"),
        node("d", "c", "assistant", "A rose."),
    )
    chat["mapping"]["a"]["message"]["content"]["parts"] = [spoken, {"content_type": "audio_asset_pointer"}]
    chat["mapping"]["c"]["message"]["content"]["parts"] = [picture]
    (transcript,) = read(chat)
    assert [entry.text for entry in transcript.entries] == ["Can you hear me?", "Yes.", "(a picture)", "A rose."]


def test_parts_that_are_no_text_are_left_out() -> None:
    chat = export(node("a", None, "user", None, kind="multimodal_text"), node("b", "a", "user", "x"))
    chat["mapping"]["a"]["message"]["content"]["parts"] = [{"asset_pointer": "file://x"}, "What is this?"]
    (transcript,) = read(chat)
    assert [entry.text for entry in transcript.entries] == ["What is this?", "x"]


def test_a_chat_in_which_nothing_was_said_is_left_out() -> None:
    assert len(read(GARDEN, export(node("root", None), conversation_id="empty"))) == 1


def test_odd_times_and_titles_are_forgiven() -> None:
    (transcript,) = read(export(node("a", None, "user", "Hi there"), title=None, create_time=-5, update_time=1e300))
    assert (transcript.conversation.title, transcript.conversation.updated) == ("Hi there", 0.0)


def damaged(key: str, value: Any, name: str = "first") -> dict[str, Any]:
    """The garden, where one thing of one message is something else."""
    chat: dict[str, Any] = json.loads(json.dumps({**GARDEN, "conversation_id": "damaged"}))
    message = chat["mapping"][name]["message"]
    at, last = (message["content"], "parts") if key == "parts" else (message, key)
    at[last] = value
    return chat


@pytest.mark.parametrize(
    ("chat", "complaint"),
    [
        ({"mapping": 7}, "no messages that can be read"),
        ({"title": "x"}, "“x” \\(it has no messages"),
        ({"title": "Lost", "mapping": None}, "“Lost” \\(it has no messages"),
        (None, "it isn't a chat"),
        ([], "it isn't a chat"),
        ("a text", "it isn't a chat"),
        (export(node("a", "b", "user", "x"), node("b", "a", "user", "y")), "2 messages that follow each other in a"),
        (export(node("a", "a", "user", "x")), "in a circle"),
        (export(node("a", None, "user", "x" * 2_000_001)), "“Garden” \\(a message of more than 2,000,000 characters"),
    ],
)
def test_a_chat_that_cannot_be_used_is_named_and_the_others_are_imported(chat: Any, complaint: str) -> None:
    if isinstance(chat, dict):
        chat["conversation_id"] = "another"
    for chats in ([GARDEN, chat], [chat, GARDEN]):
        unpacked = unpack("conversations.json", json.dumps(chats).encode())
        assert [transcript.conversation.title for transcript in unpacked.transcripts] == ["Garden"]
        assert len(next(iter(unpacked.transcripts)).entries) == 5
        assert len(unpacked.notices) == 1
        assert re.search(complaint, unpacked.notices[0])
    with pytest.raises(StorageError, match=r"^conversations\.json: .*\. Nothing was imported\.$"):
        read(chat)


@pytest.mark.parametrize("key", ["author", "content", "parts", "create_time", "recipient", "metadata"])
@pytest.mark.parametrize("value", [None, 7, True, "text", [], {}, [None], {"role": None}, 1e400, -1])
def test_whatever_stands_in_a_messages_field_the_rest_of_the_chat_comes_in(key: str, value: Any) -> None:
    (transcript,) = read(damaged(key, value))
    entries = transcript.entries
    assert {"Why are my roses sad?", "Feed them.", "With what?", "Bone meal."} <= {entry.text for entry in entries}
    ids = [entry.id for entry in entries]
    assert all(entry.parent is None or entry.parent in ids[: ids.index(entry.id)] for entry in entries)
    store = ChatStore()
    store.merge([transcript])
    assert store.path(transcript.conversation.id)[-1].text == "Bone meal."


@pytest.mark.parametrize(
    "key", ["title", "create_time", "update_time", "current_node", "conversation_id", "id", "moderation_results"]
)
@pytest.mark.parametrize("value", [None, 7, "text", [], {}, True, 1e400])
def test_whatever_stands_in_a_chats_field_its_messages_come_in(key: str, value: Any) -> None:
    (transcript,) = read({**GARDEN, key: value})
    assert len(transcript.entries) == 5
    ChatStore().merge([transcript])


@pytest.mark.parametrize("broken", [None, 7, "text", [], {}, {"message": None}, {"message": []}, {"parent": 7}])
def test_a_node_that_is_none_is_passed_over(broken: Any) -> None:
    chat = {**GARDEN, "mapping": {**GARDEN["mapping"], "odd": broken}}
    (transcript,) = read(chat)
    assert len(transcript.entries) == 5


def test_nodes_without_parents_are_found_by_their_parents_children() -> None:
    chat: dict[str, Any] = json.loads(json.dumps(GARDEN))
    for name, found in chat["mapping"].items():
        if found["parent"]:
            chat["mapping"][found["parent"]]["children"].append(name)
    for found in chat["mapping"].values():
        del found["parent"]
    assert list(read(chat)) == list(read(GARDEN))


def test_nodes_in_a_list_are_read_like_those_by_their_ids() -> None:
    assert list(read({**GARDEN, "mapping": list(GARDEN["mapping"].values())})) == list(read(GARDEN))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (1.7e9, 1.7e9),
        (1700000000, 1.7e9),
        ("1700000000.0", 1.7e9),
        ("2023-11-14T22:13:20+00:00", 1.7e9),
        ("2023-11-14T22:13:20Z", 1.7e9),
        ("yesterday", 1.6e9),
        (None, 1.6e9),
        (True, 1.6e9),
        ([], 1.6e9),
        (1e300, 1.6e9),
        ("1e999", 1.6e9),
    ],
)
def test_a_time_may_be_a_number_or_a_text(time: Any, seconds: float) -> None:
    (transcript,) = read({**GARDEN, "update_time": time})
    assert transcript.conversation.updated == seconds
    (transcript,) = read(export(node("a", None, "user", "Hi", create_time=time)))
    assert transcript.entries[0].created == seconds


def test_a_chat_that_is_there_twice_comes_in_once_in_its_fuller_version() -> None:
    fuller: dict[str, Any] = json.loads(json.dumps(GARDEN))
    fuller["mapping"]["thanks"] = node("thanks", "last", "user", "Thanks!")
    for chats, notices in (([GARDEN, GARDEN], 0), ([GARDEN, fuller], 1), ([fuller, GARDEN, fuller], 1)):
        unpacked = unpack("conversations.json", json.dumps(chats).encode())
        (transcript,) = unpacked.transcripts
        assert len(transcript.entries) == (5 if fuller not in chats else 6)
        assert len(unpacked.notices) == notices


def test_a_whole_export_beside_its_numbered_parts_is_read_once() -> None:
    chats = [{**GARDEN, "conversation_id": str(number)} for number in range(4)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("conversations.json", json.dumps(chats))
        made.writestr("conversations-000.json", json.dumps(chats[:2]))
        made.writestr("conversations-001.json", json.dumps(chats[2:]))
    unpacked = unpack("export.zip", packed.getvalue())
    assert (len(unpacked.transcripts), unpacked.notices) == (4, ())
    assert ChatStore().merge(unpacked.transcripts) == 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_an_export_may_be_encoded_otherwise(encoding: str) -> None:
    data = json.dumps([{**GARDEN, "title": "Gärten"}], ensure_ascii=False).encode(encoding)
    (transcript,) = unpack("conversations.json", data).transcripts
    assert transcript.conversation.title == "Gärten"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Rome fell. \ue200cite\ue202turn0search1\ue201 Then", "Rome fell. Then"),
        ("It fell \ue200cite\ue202turn0search1\ue202turn0search2\ue201.", "It fell."),
        ("\ue203It fell\ue204 in 476 \ue200cite\ue202turn1view0\ue201.", "It fell in 476."),
        ("a\ue200navlist\ue202More to read\ue202turn0news1,turn0news2\ue201\nb", "a\nb"),
        ('See \ue200image_group\ue202{"query": ["a b"]}\ue201\n\nb', "See\n\nb"),
        ("\ue200a\ue201\ue200b\ue201c", "c"),
        ("cut off \ue200cite\ue202turn0sea", "cut off"),
        ("cut \ue200cite\ue202turn0 here", "cut here"),
        ("old ones【12†source】, too 【4:1†L3-L9】.", "old ones, too."),
        ("【注】 stays", "【注】 stays"),
        ("nothing to remove", "nothing to remove"),
    ],
)
def test_citation_marks_are_no_part_of_a_text(written: str, shown: str) -> None:
    (transcript,) = read(export(node("a", None, "user", "Hi"), node("b", "a", "assistant", written)))
    assert transcript.entries[1].text == shown


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "mapping", "message", "author", "role", "content", "parts", "parent", "children", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(ANYTHING, max_size=3))
def test_a_sound_chat_comes_in_whatever_stands_beside_it(others: list[Any]) -> None:
    for chats in ([*others, GARDEN], [GARDEN, *others]):
        unpacked = unpack("conversations.json", json.dumps(chats).encode())
        assert "Garden" in [transcript.conversation.title for transcript in unpacked.transcripts]
        store = ChatStore()
        assert store.merge(unpacked.transcripts) >= 5
        store.close()


def test_what_a_model_thought_stands_before_its_answer() -> None:
    thoughts = [{"summary": "Looking at roses", "content": "Dry or hungry?"}, {"content": "Dry."}, 7]
    thinking = node("thinking", "ask", "assistant", None, kind="thoughts")
    thinking["message"]["content"] = {"content_type": "thoughts", "thoughts": thoughts}
    chat = export(
        node("ask", None, "user", "Why are my roses sad?"),
        thinking,
        node("recap", "thinking", "assistant", "Thought for 5 seconds", kind="reasoning_recap"),
        node("answer", "recap", "assistant", "They are dry."),
        node("more", "answer", "user", "Sure?"),
        node("last", "more", "assistant", "Yes."),
    )
    (transcript,) = read(chat)
    assert [(entry.text, entry.thought) for entry in transcript.entries] == [
        ("Why are my roses sad?", ""),
        ("They are dry.", "Looking at roses\nDry or hungry?\n\nDry."),
        ("Sure?", ""),
        ("Yes.", ""),
    ]
