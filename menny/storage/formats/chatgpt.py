"""Chats from ChatGPT's data export, `conversations.json`: trees of nodes, of which some were shown as messages."""

import hashlib
import math
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from menny.errors import StorageError
from menny.messages import Role
from menny.storage.formats.json import MOST_CHARACTERS, MOST_MESSAGES
from menny.storage.rows import title_given, title_of
from menny.storage.values import Conversation, MessageNode, Transcript
from menny.text import sanitize


class _Lenient(BaseModel):
    """Of what somebody else writes, the keys that we know are looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Author(_Lenient):
    role: str


class _Content(_Lenient):
    content_type: str = "text"
    parts: list[Any] = []


class _Message(_Lenient):
    author: _Author
    content: _Content
    create_time: float | None = None
    recipient: str | None = None  # a tool's name, or "all"
    metadata: dict[str, Any] | None = None


class _Node(_Lenient):
    message: _Message | None = None
    parent: str | None = None


class _Chat(_Lenient):
    id: str | None = None
    conversation_id: str | None = None
    title: str | None = None
    create_time: float | None = None
    update_time: float | None = None
    current_node: str | None = None
    mapping: dict[str, _Node]


PICTURE = "(a picture)"  # what stands for a message without a word, so that its answer keeps its place
_CHATS = TypeAdapter(list[_Chat])


def from_export(data: Sequence[Any]) -> list[Transcript]:
    """The chats of an export in which something was said. StorageError, with what is wrong, where it isn't one."""
    try:
        chats = _CHATS.validate_python(data)
    except (ValidationError, RecursionError):
        raise StorageError("it isn't an export of ChatGPT's, or one of another kind") from None
    transcripts = [_transcript(chat) for chat in chats]
    return [transcript for transcript in transcripts if transcript.entries]


def _transcript(chat: _Chat) -> Transcript:
    if len(chat.mapping) > MOST_MESSAGES:
        raise StorageError(f"one of its chats has more than {MOST_MESSAGES:,} messages")
    source = chat.conversation_id or chat.id or f"{chat.title} {chat.create_time}"
    begun = _seconds(chat.create_time)
    shown: dict[str, MessageNode] = {}  # by node
    above: dict[str, str | None] = {}  # node → the nearest node at or above it that is shown
    for node_id in _from_the_top(chat.mapping):
        node = chat.mapping[node_id]
        parent = above.get(node.parent or "")
        role, text = _said(node.message)
        if role is None or not text:
            above[node_id] = parent
            continue
        above[node_id] = node_id
        time = _seconds(node.message.create_time if node.message else None) or begun
        parent_id = shown[parent].id if parent else None
        shown[node_id] = MessageNode(_id_of(source, node_id), parent_id, role, text, created=time)
    entries = tuple(shown.values())
    title = title_given(chat.title or "") or (title_of(entries[0].text) if entries else "")
    conversation = Conversation(_id_of(source), title, False, begun, _seconds(chat.update_time) or begun)
    return Transcript(conversation, entries, tuple(_active(above.get(chat.current_node or ""), shown)))


def _from_the_top(mapping: Mapping[str, _Node]) -> Iterator[str]:
    """Every node after its parent."""
    children: dict[str | None, list[str]] = defaultdict(list)
    for node_id, node in mapping.items():
        children[node.parent if node.parent in mapping else None].append(node_id)
    rest, count = children[None][::-1], 0
    while rest:
        node_id = rest.pop()
        count += 1
        yield node_id
        rest += children[node_id][::-1]
    if count < len(mapping):
        raise StorageError("the messages of one of its chats go round in a circle")


def _said(message: _Message | None) -> tuple[Role | None, str]:
    """Who said what; nothing where it wasn't shown: instructions, tools, pictures."""
    if message is None or (message.metadata or {}).get("is_visually_hidden_from_conversation"):
        return None, ""
    if message.content.content_type not in ("text", "multimodal_text") or message.recipient not in (None, "all"):
        return None, ""
    parts = [_text_of(part) for part in message.content.parts]
    text = sanitize("\n\n".join(part for part in parts if part.strip())) or (
        PICTURE if any(message.content.parts) else ""
    )
    if len(text) > MOST_CHARACTERS:
        raise StorageError(f"one of its messages has more than {MOST_CHARACTERS:,} characters")
    match message.author.role:
        case "user":
            return "user", text
        case "assistant":
            return "assistant", text
        case _:
            return None, ""


def _text_of(part: Any) -> str:
    """A part's text; what was spoken stands in it as an object with what was understood."""
    told = part.get("text") if isinstance(part, dict) else part
    return told if isinstance(told, str) else ""


def _active(node_id: str | None, shown: Mapping[str, MessageNode]) -> list[str]:
    by_id = {entry.id: entry for entry in shown.values()}
    at = shown[node_id] if node_id else None
    way: list[str] = []
    while at is not None:
        way.append(at.id)
        at = by_id[at.parent] if at.parent else None
    return way[::-1]


def _id_of(*names: str) -> str:
    """The same for the same chat and message whenever it is imported, and nothing that could be guessed."""
    digest = hashlib.sha256("\0".join(("chatgpt", *names)).encode(errors="replace")).digest()
    return urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _seconds(time: float | None) -> float:
    return time if time is not None and math.isfinite(time) and 0 <= time <= 1e11 else 0.0
