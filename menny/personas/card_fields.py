"""The fields of a character card, whatever kinds of values another program put there.

Read from the public descriptions of the formats: character-card-spec-v2 (with spec_v1) and character-card-spec-v3. What
Menny has no use for may be anything; of what it reads, a value of the wrong kind is left out with a notice.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from menny.errors import ConfigError
from menny.text import is_blank, sanitize, storable

SPECS = {"chara_card_v2": 2, "chara_card_v3": 3}
V1_TEXTS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
V2_TEXTS = ("creator_notes", "system_prompt", "post_history_instructions")
LABELS = {  # the fields that Menny reads, as a notice calls them
    "name": "name",
    "description": "description",
    "personality": "personality",
    "scenario": "scenario",
    "first_mes": "greeting",
    "mes_example": "example dialogue",
    "creator_notes": "creator's notes",
    "system_prompt": "system prompt",
    "post_history_instructions": "closing instructions",
    "alternate_greetings": "other greetings",
    "nickname": "nickname",
    "character_book": "lorebook",
    "assets": "list of assets",
}
MAX_NAME = 60
MAX_DEPTH = 14  # levels within a card, so that a persona's `extensions` can hold it
MAX_KEY = 100

_MARK = re.compile(r"<(user|bot|char)>", re.IGNORECASE)
_UNSENT = re.compile(r"\{\{(?://|comment:|hidden_key:)[^{}]*\}\}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CardFields:
    """The fields of a card that Menny reads: texts by the formats' names, the other greetings, and the nickname."""

    texts: Mapping[str, str]
    greetings: tuple[str, ...]
    nickname: str


def data_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """The object that holds a card's fields. Raises ConfigError where it isn't a card."""
    spec, data = card.get("spec"), card.get("data")
    if isinstance(spec, str) and spec not in SPECS:
        raise ConfigError(f"its spec is {json.dumps(spec)[:40]}; Menny reads character cards of versions 1, 2 and 3")
    for found in (data, card):  # some programs repeat version 1's fields beside the data
        if isinstance(found, dict) and any(found.get(key) for key in (*V1_TEXTS[1:], *V2_TEXTS[1:])):
            return found
    found = data if isinstance(data, dict) else card
    if not any(key in found for key in V1_TEXTS[1:]):
        raise ConfigError("it isn't a character card: there is no description, and no first message")
    return dict(found)


def fields_of(data: Mapping[str, Any], notices: list[str]) -> CardFields:
    """The fields in a card's data; `notices` grows by what had to be left out.

    Raises ConfigError for a description that isn't text: without it there is no character.
    """
    description = data.get("description")
    if description and not isinstance(description, str | list):
        raise ConfigError(f"its description must be text, not {json.dumps(description)[:40]}")
    texts = {key: _text_of(data.get(key), LABELS[key], notices) for key in (*V1_TEXTS, *V2_TEXTS)}
    nickname = data.get("nickname")
    return CardFields(
        texts={key: text if key == "name" else marked(text) for key, text in texts.items()},
        greetings=tuple(filter(None, map(marked, _greetings_of(data.get("alternate_greetings"), notices)))),
        nickname=shortened(nickname, MAX_NAME) if isinstance(nickname, str) and not is_blank(nickname) else "",
    )


def cleaned(card: Mapping[str, Any], notices: list[str]) -> dict[str, Any]:
    """A card whose values can be stored and shown: no halves of characters, no endless tree, no number beyond JSON."""
    reasons: dict[tuple[str, str], None] = {}

    def clean(value: Any, field: str, depth: int) -> Any:
        if isinstance(value, dict | list) and depth > MAX_DEPTH:
            reasons[field, "it is nested too deep"] = None
            return None
        if isinstance(value, dict):
            kept = {}
            for key, inner in value.items():
                plain = sanitize(key)
                if len(plain) > MAX_KEY or len(plain.splitlines()) > 1 or plain in kept:
                    reasons[field or "fields", "a key in it is too long, or stands there twice"] = None
                    continue
                name = plain if depth <= 2 and plain not in ("data", "spec") else field
                kept[plain] = clean(inner, name, depth + 1)
            return kept
        if isinstance(value, list):
            return [clean(inner, field, depth + 1) for inner in value]
        if isinstance(value, float) and not math.isfinite(value):
            reasons[field, "it has a number that can't be kept"] = None
            return None
        return storable(value) if isinstance(value, str) else value

    result: dict[str, Any] = clean(card, "", 1)
    for field, reason in list(reasons)[:8]:
        notices.append(f"part of its {LABELS.get(field, shortened(field, 40))} was left out, as {reason}")
    return result


def exchanges(dialogue: str, *names: str) -> list[dict[str, str]]:
    """Pairs of question and answer in an example dialogue of lines such as `{{user}}: Hello`."""
    others = "|".join(re.escape(name) for name in ("{{char}}", *names) if name)
    speaker = re.compile(rf"\s*(?:(?P<user>\{{\{{user\}}\}}|You)|{others})\s*:", re.IGNORECASE)
    pairs: list[dict[str, str]] = []
    for block in re.split(r"<START>", dialogue, flags=re.IGNORECASE):
        turns: list[tuple[str, list[str]]] = []
        for line in block.strip().splitlines():
            match = speaker.match(line)
            if match:
                role = "user" if match["user"] else "assistant"
                if not turns or turns[-1][0] != role:
                    turns.append((role, []))
            if turns:
                turns[-1][1].append(line[match.end() :].strip() if match else line.rstrip())
        texts = [(role, "\n".join(lines).strip()) for role, lines in turns]
        for (first, question), (_, answer) in pairwise(texts):
            if first == "user" and question and answer:
                pairs.append({"user": question, "assistant": answer})
    return pairs


def marked(text: str) -> str:
    """A text with the older marks `<USER>` and `<BOT>` as {{user}} and {{char}}, and without notes to its readers."""
    names = {"user": "{{user}}", "bot": "{{char}}", "char": "{{char}}"}
    return _UNSENT.sub("", _MARK.sub(lambda match: names[match[1].lower()], text)).strip()


def joined(*texts: str) -> str:
    """Paragraphs of what isn't empty."""
    return "\n\n".join(text for text in texts if text)


def shortened(text: str, length: int) -> str:
    """A text's first line, cut where it is longer than the given number of characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def cut(text: str, length: int) -> str:
    """A text's first paragraphs, lines or words, at most the given number of characters."""
    if len(text) <= length:
        return text
    head = text[:length]
    end = next((at for mark in ("\n\n", "\n", " ") if (at := head.rfind(mark)) > length * 3 // 4), length)
    return head[:end].rstrip()


def _text_of(value: Any, label: str, notices: list[str]) -> str:
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return sanitize("\n".join(value))
    if value or value is False:
        notices.append(f"its {label} was left out, as it isn't text")
    return ""


def _greetings_of(value: Any, notices: list[str]) -> Iterable[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        if items:
            notices.append("its other greetings were left out, as they aren't a list of texts")
        return []
    plain = [item for item in items if isinstance(item, str | int | float) and not isinstance(item, bool)]
    texts = [sanitize(str(item)) for item in plain]
    if left_out := len([item for item in items if item is not None]) - len(texts):
        notices.append(f"{left_out} of its {len(items)} other greetings were left out, as they aren't text")
    return texts
