"""Chats from ChatGPT's data export, `conversations.json`: trees of nodes, of which some were shown as messages.

Nobody documents the format, and it changes: what is sound is read, and what isn't is left out with a notice.
"""

import hashlib
import math
import re
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from menny.messages import Role
from menny.storage.formats.json import MOST_CHARACTERS, MOST_MESSAGES
from menny.storage.rows import title_given, title_of
from menny.storage.values import Conversation, MessageNode, Transcript
from menny.text import sanitize

BLANK_LINE = "\n\n"
PICTURE = "(a picture)"  # what stands for a message without a word, so that its answer keeps its place
MOST_THOUGHTS = 64  # messages before an answer
SHOWN_TYPES = ("text", "multimodal_text")

# Citations and other marks that ChatGPT's page replaces: U+E200 begins one and U+E201 ends it; older ones look like
# 【3†source】. A mark that was cut off reaches to the next space. U+E203 and U+E204 enclose the words that are cited.
_MARKS = re.compile("[ \u00a0]?(?:\ue200[^\ue200\ue201]*\ue201|【\\d+(?::\\d+)?†[^【】]*】)")
_CUT_MARKS = re.compile("[ \u00a0]?\ue200[^\\s\ue200\ue201]*|[\ue200-\ue206]")


@dataclass(frozen=True)
class ReadChat:
    """A chat of an export: its transcript, where it has one, its name, and what was left out."""

    name: str
    transcript: Transcript | None
    left_out: list[str] = field(default_factory=list)


def is_chat(data: object) -> bool:
    """Return whether an element of an export is a chat at all."""
    return isinstance(data, dict) and isinstance(data.get("mapping"), dict | list)


def read_chat(data: object) -> ReadChat:
    """Read one element of an export. An empty chat has no transcript, and nothing was left out of it."""
    if not isinstance(data, dict):
        return ReadChat("an entry without a title", None, ["it isn't a chat"])
    title = title_given(_text(data.get("title")))
    name = f"“{title_of(title)}”" if title else "a chat without a title"
    mapping = _mapping(data.get("mapping"))
    if mapping is None:
        return ReadChat(name, None, ["it has no messages that can be read"])
    if len(mapping) > MOST_MESSAGES:
        return ReadChat(name, None, [f"it has more than {MOST_MESSAGES:,} messages"])
    left_out: list[str] = []
    begun = _seconds(data.get("create_time"))
    shown, above = _shown_nodes(_source(data), mapping, begun or 0.0, left_out)
    if not shown:
        return ReadChat(name, None, left_out)
    entries = tuple(shown.values())
    updated = _seconds(data.get("update_time")) or begun or 0.0
    conversation = Conversation(_id_of(_source(data)), title or title_of(entries[0].text), False, begun or 0.0, updated)
    current = above.get(_text(data.get("current_node")))
    return ReadChat(name, Transcript(conversation, entries, tuple(_active(current, shown))), left_out)


def _source(chat: Mapping[str, Any]) -> str:
    """Return what tells a chat from others, also when it is imported again."""
    known = _text(chat.get("conversation_id")) or _text(chat.get("id"))
    title = chat.get("title")
    return known or f"{title if isinstance(title, str) else None} {_seconds(chat.get('create_time'))}"


def _mapping(found: object) -> dict[str, Mapping[str, Any]] | None:
    """Return the nodes by their ids; None where there are none to be had."""
    if isinstance(found, list):
        found = {_text(node.get("id")): node for node in found if isinstance(node, dict)}
    if not isinstance(found, dict):
        return None
    return {node_id: node if isinstance(node, dict) else {} for node_id, node in found.items()}


def _shown_nodes(
    source: str, mapping: Mapping[str, Mapping[str, Any]], begun: float, left_out: list[str]
) -> tuple[dict[str, MessageNode], dict[str, str | None]]:
    """Return the messages by node, each after its parent, and the nearest shown node at or above every node."""
    shown: dict[str, MessageNode] = {}
    above: dict[str, str | None] = {}
    parents = _parents(mapping)
    for node_id in _from_the_top(parents):
        parent = above.get(parents[node_id] or "")
        role, text, created = _read_message(mapping[node_id].get("message"))
        if len(text) > MOST_CHARACTERS:
            left_out.append(f"a message of more than {MOST_CHARACTERS:,} characters")
            text = ""
        if role is None or not text:
            above[node_id] = parent
            continue
        above[node_id] = node_id
        parent_id = shown[parent].id if parent else None
        shown[node_id] = MessageNode(
            _id_of(source, node_id),
            parent_id,
            role,
            text,
            created=created or begun,
            thought=_thought_before(parents[node_id], mapping, parents, above) if role == "assistant" else "",
        )
    if len(above) < len(mapping):
        left_out.append(f"{len(mapping) - len(above):,} messages that follow each other in a circle")
    return shown, above


def _thought_before(
    node_id: str | None,
    mapping: Mapping[str, Mapping[str, Any]],
    parents: Mapping[str, str | None],
    above: Mapping[str, str | None],
) -> str:
    """Return what a model thought in the messages between a shown one and its answer."""
    found: list[str] = []
    for _ in range(MOST_THOUGHTS):
        if node_id is None or above.get(node_id) == node_id:
            break
        found.append(_thought_of(mapping[node_id].get("message")))
        node_id = parents[node_id]
    return BLANK_LINE.join(filter(None, found[::-1]))[:MOST_CHARACTERS]


def _parents(mapping: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Return every node's parent: as the node says, else as its parent lists it among its children."""
    listed: dict[str, str] = {}
    for node_id, node in mapping.items():
        children = node.get("children")
        for child in children if isinstance(children, list) else []:
            if isinstance(child, str) and child != node_id:
                listed.setdefault(child, node_id)
    parents: dict[str, str | None] = {}
    for node_id, node in mapping.items():
        parent = node.get("parent")
        parents[node_id] = parent if isinstance(parent, str) and parent in mapping else listed.get(node_id)
    return parents


def _from_the_top(parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield every node after its parent, without those that stand in a circle."""
    children: dict[str | None, list[str]] = defaultdict(list)
    for node_id, parent in parents.items():
        children[parent].append(node_id)
    rest = children[None][::-1]
    while rest:
        node_id = rest.pop()
        yield node_id
        rest += children[node_id][::-1]


def _read_message(message: object) -> tuple[Role | None, str, float | None]:
    """Return a message's role, text and time; no role where it wasn't shown: instructions, tools, pictures."""
    if not isinstance(message, dict):
        return None, "", None
    metadata, content = message.get("metadata"), message.get("content")
    is_hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
    content_type = (content.get("content_type") if isinstance(content, dict) else None) or "text"
    if is_hidden or content_type not in SHOWN_TYPES or message.get("recipient") not in (None, "all"):
        return None, "", None
    author = message.get("author")
    role = author.get("role") if isinstance(author, dict) else author
    if role not in ("user", "assistant"):
        return None, "", None
    parts = _parts(content)
    text = "\n\n".join(text for part in parts if (text := _text_of(part)).strip())
    text = sanitize(_without_marks(text, is_reply=role == "assistant")) or (PICTURE if any(parts) else "")
    return ("user" if role == "user" else "assistant"), text, _seconds(message.get("create_time"))


def _thought_of(message: object) -> str:
    """Return what a reasoning model thought, which stands in messages of their own before its answer."""
    content = message.get("content") if isinstance(message, dict) else None
    found = content.get("thoughts") if isinstance(content, dict) else None
    parts = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
    texts = [
        "\n".join(filter(None, (_text(part.get("summary")), _text(part.get("content"))))).strip() for part in parts
    ]
    return sanitize(BLANK_LINE.join(filter(None, texts)))


def _parts(content: object) -> list[Any]:
    """Return a content's parts, whatever shape it has."""
    if isinstance(content, dict):
        found = content.get("parts")
        content = content.get("text") if found is None else found
    if isinstance(content, list):
        return content
    return [content] if isinstance(content, str | dict) else []


def _text_of(part: object) -> str:
    """Return a part's text; what was spoken is an object with what was understood."""
    return _text(part.get("text") if isinstance(part, dict) else part)


def _without_marks(text: str, is_reply: bool) -> str:
    """Remove citation marks and what they enclose; halves of them only where the model wrote the text."""
    text = _MARKS.sub("", text)
    return _CUT_MARKS.sub("", text) if is_reply else text


def _active(node_id: str | None, shown: Mapping[str, MessageNode]) -> list[str]:
    by_id = {entry.id: entry for entry in shown.values()}
    at = shown[node_id] if node_id else None
    path: list[str] = []
    while at is not None:
        path.append(at.id)
        at = by_id[at.parent] if at.parent else None
    return path[::-1]


def _id_of(*names: str) -> str:
    """Return the same id for the same chat and message at every import, and none that could be guessed."""
    digest = hashlib.sha256("\0".join(("chatgpt", *names)).encode(errors="replace")).digest()
    return urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(time: object) -> float | None:
    """Read a time: seconds since 1970 as a number or a text, or a date by ISO 8601; None for anything else."""
    if isinstance(time, str):
        time = _seconds_of_text(time)
    if isinstance(time, bool) or not isinstance(time, int | float):
        return None
    return float(time) if 0 <= time <= 1e11 and math.isfinite(time) else None


def _seconds_of_text(time: str) -> float | None:
    try:
        return float(time)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
