"""Chats of SillyTavern, `.jsonl`: a line for the chat itself, then one for each message with its alternatives.

Nobody documents the format, and it has changed over the years: what is sound is read, and the rest is left out with a
notice.
"""

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from menny.errors import StorageError
from menny.messages import Role
from menny.storage.formats.json import MOST_CHARACTERS, MOST_MESSAGES
from menny.storage.rows import title_given, title_of
from menny.storage.values import Conversation, MessageNode, Transcript
from menny.text import is_blank, sanitize

HEAD_KEYS = ("user_name", "character_name", "chat_metadata")
MOST_LINE_BYTES = 16 * 2**20
MOST_VALUES = 500_000  # in a line; each takes some 100 bytes in memory
MOST_SWIPES = 1000  # of a message
NOT_SPOKEN = ("comment", "help", "welcome", "assistant_note", "system_message", "slash_commands", "empty", "generic")
PICTURE = "(a picture)"  # stands for a message without text, so that its answer keeps its place

_DATES = (  # as its versions wrote them, in local time
    "%Y-%m-%d@%Hh%Mm%Ss",
    "%Y-%m-%d@%Hh%Mm%Ss%fms",
    "%B %d, %Y %I:%M%p",
    "%B %d, %Y %I:%M:%S%p",
)


def is_sillytavern(data: bytes) -> bool:
    """Return true where a file's first line is the head of such a chat, or a message of one."""
    first = _object(next(_lines(data), b""))
    return first is not None and (any(key in first for key in HEAD_KEYS) or _is_message(first))


def from_sillytavern(data: bytes) -> tuple[Transcript, list[str]]:
    """A chat, and what was left out of it. Raises StorageError where there is no message in it."""
    head: Mapping[str, Any] = {}
    messages: list[Mapping[str, Any]] = []
    unreadable = unspoken = 0
    for number, line in enumerate(_lines(data)):
        found = _object(line)
        if found is None:
            unreadable += 1
        elif _is_message(found):
            if _is_spoken(found):
                messages.append(found)
            else:
                unspoken += 1
        elif number == 0:
            head = found
        else:
            unreadable += 1
    if not messages:
        raise StorageError("there is no message in it that can be read")
    left_out = [f"{unreadable:,} lines that can't be read"] if unreadable else []
    left_out += [f"{unspoken:,} notes and messages of SillyTavern's own"] if unspoken else []
    return _transcript(head, messages), left_out


def _lines(data: bytes) -> Iterator[bytes]:
    """The lines that aren't blank, one at a time."""
    start = len(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if line := data[start:end].strip():
            yield line
        start = end + 1


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object on a line; None where there isn't one, or it is too large."""
    if len(line) > MOST_LINE_BYTES or sum(line.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_message(found: Mapping[str, Any]) -> bool:
    return isinstance(found.get("mes"), str) and ("is_user" in found or "name" in found)


def _is_spoken(message: Mapping[str, Any]) -> bool:
    """Return true for a message of the conversation, also one that its reader hid from the model."""
    extra = message.get("extra")
    kind = extra.get("type") if isinstance(extra, dict) else None
    return kind not in NOT_SPOKEN and (_text(message["mes"]) != "" or _has_picture(message))


def _transcript(head: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> Transcript:
    metadata = head.get("chat_metadata")
    identity = metadata.get("integrity") if isinstance(metadata, dict) else None
    source = str(identity or f"{head.get('character_name')} {head.get('create_date')} {messages[0]['mes']}")
    is_group = len({_name(message) for message in messages if _role(message) == "assistant"}) > 1
    time = _seconds(head.get("create_date")) or 0.0
    entries: list[MessageNode] = []
    active: list[str] = []
    for message in messages:
        time = _seconds(message.get("send_date")) or time
        parent = active[-1] if active else None
        swipes, chosen = _swipes(message)
        if len(entries) + len(swipes) > MOST_MESSAGES:
            raise StorageError(f"it has more than {MOST_MESSAGES:,} messages")
        chosen_id, ids = "", set[str]()
        thoughts = _thoughts(message)
        for swipe in swipes:
            text = f"{_name(message)}: {swipe}" if is_group and _role(message) == "assistant" else swipe
            entry_id = _id_of(source, parent or "", _role(message), text)
            if entry_id not in ids:
                ids.add(entry_id)
                thought = thoughts.get(swipe, "") if _role(message) == "assistant" else ""
                entries.append(
                    MessageNode(entry_id, parent, _role(message), text[:MOST_CHARACTERS], created=time, thought=thought)
                )
            if swipe == chosen:
                chosen_id = entry_id
        active.append(chosen_id)
    asked = next((entry.text for entry in entries if entry.role == "user"), entries[0].text)
    title = title_of(asked) or title_given(str(head.get("character_name") or ""))
    begun = next((entry.created for entry in entries if entry.created), time)
    conversation = Conversation(_id_of(source), title, False, begun, max(entry.created for entry in entries))
    return Transcript(conversation, tuple(entries), tuple(active))


def _swipes(message: Mapping[str, Any]) -> tuple[list[str], str]:
    """A message's alternatives in their order, and the one that is shown, which its reader may have edited."""
    shown = _text(message["mes"]) or PICTURE
    given = message.get("swipes")
    texts = [_text(swipe) for swipe in given[:MOST_SWIPES]] if isinstance(given, list) else []
    number = message.get("swipe_id")
    if isinstance(number, int) and 0 <= number < len(texts):
        texts[number] = shown
    elif shown not in texts:
        texts.append(shown)
    return [text for text in texts if text], shown


def _thoughts(message: Mapping[str, Any]) -> dict[str, str]:
    """What the model thought before each alternative, by its text."""
    given, infos = message.get("swipes"), message.get("swipe_info")
    pairs = zip(given[:MOST_SWIPES], infos, strict=False) if isinstance(given, list) and isinstance(infos, list) else []
    thoughts = {_text(swipe): _reasoning(info) for swipe, info in pairs}
    return thoughts | ({_text(message["mes"]): own} if (own := _reasoning(message)) else {})


def _reasoning(holder: Any) -> str:
    extra = holder.get("extra") if isinstance(holder, dict) else None
    return _text(extra.get("reasoning")) if isinstance(extra, dict) else ""


def _role(message: Mapping[str, Any]) -> Role:
    return "user" if message.get("is_user") else "assistant"


def _name(message: Mapping[str, Any]) -> str:
    return " ".join(_text(message.get("name")).split())[:60]


def _text(value: Any) -> str:
    text = sanitize(value).strip() if isinstance(value, str) else ""
    return "" if is_blank(text) else text[:MOST_CHARACTERS]


def _has_picture(message: Mapping[str, Any]) -> bool:
    extra = message.get("extra")
    return isinstance(extra, dict) and any(extra.get(key) for key in ("image", "media", "file", "files", "video"))


def _seconds(value: Any) -> float | None:
    """A time in seconds since 1970, from milliseconds or any of the forms that its versions wrote; else None."""
    if isinstance(value, str) and re.fullmatch(r"\d{10,14}", value):
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if 0 < value <= 1e14 else None
    if not isinstance(value, str) or len(value) > 60:
        return None
    try:
        time = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except ValueError:
        plain = " ".join(value.replace(" @", "@").split())
        compact = plain.replace("h ", "h").replace("m ", "m").replace("s ", "s")
        times = (_parsed(text, form) for form in _DATES for text in (plain, compact))
        found = next((one for one in times if one), None)
        if found is None:
            return None
        time = found
    try:
        seconds = time.timestamp()
    except (OverflowError, ValueError, OSError):
        return None
    return seconds if 0 < seconds <= datetime(9999, 1, 1, tzinfo=UTC).timestamp() else None


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def _id_of(*names: str) -> str:
    """The same for the same chat and message whenever it is imported, and nothing that could be guessed."""
    digest = hashlib.sha256("\0".join(("sillytavern", *names)).encode(errors="replace")).digest()
    return urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
