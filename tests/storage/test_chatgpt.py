"""ChatGPT's export: nodes that were shown become messages, branches stay branches, and the same import adds nothing."""

import io
import json
import zipfile
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("chat", "complaint"),
    [
        ({"mapping": 7}, "isn't an export"),
        ({"mapping": {"a": {"message": {"author": "me"}}}}, "isn't an export"),
        (export(node("a", "b", "user", "x"), node("b", "a", "user", "y")), "in a circle"),
        (export(node("a", "a", "user", "x")), "in a circle"),
        (export(node("a", None, "user", "x" * 2_000_001)), "more than 2,000,000 characters"),
    ],
)
def test_what_is_no_export_is_refused(chat: Any, complaint: str) -> None:
    with pytest.raises(StorageError, match=complaint):
        read(GARDEN, chat)
