"""Character cards, as other chat programs pass them round: versions 1, 2 and 3, as JSON or within a PNG.

Read from the public descriptions of the formats: character-card-spec-v2 (with spec_v1) and character-card-spec-v3.
A card's texts become a persona; the card as it came is kept under the persona's `extensions`, so that it goes out again
with everything that Menny has no use for. Guardrails are none of a card's business: it can't name, add or remove one.
"""

import base64
import binascii
import copy
import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import ConfigError
from menny.personas.persona import MAX_EXAMPLE, MAX_EXAMPLES, Example, PersonaFile
from menny.personas.png_text import read_texts, with_texts
from menny.text import sanitize

T = TypeVar("T")
Version = Literal[2, 3]

MAX_JSON = 4 * 1024 * 1024
SPECS = {"chara_card_v2": 2, "chara_card_v3": 3}
V1_TEXTS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
TEXTS = (*V1_TEXTS, "creator_notes", "system_prompt", "post_history_instructions", "creator", "character_version")
LISTS = ("alternate_greetings", "tags")
CARRIED = ("tagline", "system_prompt", "greeting", "suggestions", "examples", "parameters", "memory")
OUR_KEY = "menny"
NO_SYSTEM_PROMPT = "You are {{char}}. Stay in character."

_MARK = re.compile(r"<(user|bot|char)>", re.IGNORECASE)
_UNSENT = re.compile(r"\{\{(?://|comment:|hidden_key:)[^{}]*\}\}", re.IGNORECASE)
_ORIGINAL = re.compile(r"\{\{original\}\}", re.IGNORECASE)


def card_in_png(data: bytes) -> dict[str, Any]:
    """The card in a picture: that under `ccv3`, else that under `chara`. Raises ConfigError."""
    texts = read_texts(data, ("ccv3", "chara"))
    packed = texts.get("ccv3", texts.get("chara"))
    if packed is None:
        raise ConfigError("the picture holds no character card")
    bare = b"".join(packed.split())
    try:
        return card_in_json(base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True))
    except binascii.Error:
        raise ConfigError("the card in the picture isn't base64 text") from None


def card_in_json(data: bytes) -> dict[str, Any]:
    """The JSON object in a file, its texts as they can be stored. Raises ConfigError."""
    if len(data) > MAX_JSON:
        raise ConfigError(f"the card is larger than {MAX_JSON // 1024**2} MB")
    try:
        card = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ConfigError("the card isn't valid JSON") from None
    if not isinstance(card, dict):
        raise ConfigError("the card isn't a JSON object")
    cleaned: dict[str, Any] = _cleaned(card)
    return cleaned


def persona_of(card: Mapping[str, Any]) -> PersonaFile:
    """Who a card describes. Raises ConfigError where it isn't a card, or says what no persona can hold."""
    data = _data_of(card)
    said = _said(data)
    ours = data["extensions"].get(OUR_KEY)
    if isinstance(ours, dict):
        said |= {key: value for key, value in ours.items() if key in CARRIED}
    others = ours.get("extensions") if isinstance(ours, dict) else None
    said["extensions"] = {**(others if isinstance(others, dict) else {}), "card": dict(card)}
    return checked(said)


def alternate_greetings(persona: PersonaFile) -> list[str]:
    """What the card that a persona came from would have it say in its greeting's place, with the marks for names."""
    kept = persona.extensions.get("card")
    try:
        data = _data_of(kept) if isinstance(kept, dict) else {"alternate_greetings": []}
    except ConfigError:  # what stands under `extensions` is anybody's to write
        return []
    texts = _nicknamed([text for text in map(marked, data["alternate_greetings"]) if text], data)
    return [text for text in dict.fromkeys(texts) if text != persona.greeting]


def card_of(persona: PersonaFile, version: Version) -> dict[str, Any]:
    """A persona as a card: the one it came from where that is still true, and Menny's own values where it isn't."""
    kept = persona.extensions.get("card")
    card: dict[str, Any] = copy.deepcopy(kept) if isinstance(kept, dict) else {}
    data = _data_of(card, is_new=True)
    was = _said(data) if data["name"] else {}
    now = persona.model_dump(mode="json")
    if was.get("name") != persona.name:
        data["name"] = persona.name
    if was.get("greeting") != persona.greeting:
        data["first_mes"] = persona.greeting
    if was.get("system_prompt") != persona.system_prompt:
        data |= {"description": "", "personality": "", "scenario": "", "post_history_instructions": ""}
        data["system_prompt"] = persona.system_prompt
    if was.get("examples") != now["examples"]:
        data["mes_example"] = _dialogue(persona.examples)
    data["creator_notes"] = data["creator_notes"] or persona.tagline
    _carry(data, persona, now)
    if version == 3:
        data.setdefault("group_only_greetings", [])
    repeated = {key: data[key] for key in V1_TEXTS if key in card and "data" in card}
    outside = {key: value for key, value in card.items() if key not in V1_TEXTS} if "data" in card else {}
    spec = {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0"}
    return {**outside, **repeated, **spec, "data": data}


def as_json(persona: PersonaFile, version: Version) -> bytes:
    """A card's JSON file."""
    return json.dumps(card_of(persona, version), ensure_ascii=False, indent=2).encode()


def as_png(persona: PersonaFile, version: Version, picture: bytes) -> bytes:
    """A card's PNG file, from the persona's picture as a PNG."""
    keyword = "ccv3" if version == 3 else "chara"
    return with_texts(picture, {keyword: base64.b64encode(as_json(persona, version))})


def checked(said: Mapping[str, Any]) -> PersonaFile:
    """A persona of what was read; raises ConfigError that names the first thing it can't hold."""
    try:
        return from_data({key: value for key, value in said.items() if value is not None}, PersonaFile)
    except ValidationError as error:
        (place, finding), *_ = field_errors(error, PersonaFile)
        where = "" if finding.startswith("Unknown key") else f"its {'.'.join(str(part) for part in place)} "
        raise ConfigError(f"{where}{finding[0].lower()}{finding[1:].rstrip('.')}") from None


def exchanges(dialogue: str, *names: str) -> list[dict[str, str]]:
    """Pairs of question and answer in an example dialogue of lines such as `{{user}}: Hello`."""
    others = "|".join(re.escape(name) for name in ("{{char}}", *names))
    speaker = re.compile(rf"\s*(?:(?P<user>\{{\{{user\}}\}}|You)|{others})\s*:", re.IGNORECASE)
    pairs: list[dict[str, str]] = []
    for block in re.split(r"<START>", dialogue, flags=re.IGNORECASE):
        said: list[tuple[str, str]] = []
        for line in block.strip().splitlines():
            match = speaker.match(line)
            who = ("user" if match["user"] else "assistant") if match else said[-1][0] if said else ""
            text = line[match.end() :].strip() if match else line.rstrip()
            if said and said[-1][0] == who:
                said[-1] = (who, f"{said[-1][1]}\n{text}".strip())
            elif who:
                said.append((who, text))
        for (first, question), (_, answer) in pairwise(said):
            if first == "user" and question and answer and max(len(question), len(answer)) <= MAX_EXAMPLE:
                pairs.append({"user": question, "assistant": answer})
    return pairs[:MAX_EXAMPLES]


def marked(text: str) -> str:
    """A text with the older marks `<USER>` and `<BOT>` as {{user}} and {{char}}, and without notes to its readers."""
    names = {"user": "{{user}}", "bot": "{{char}}", "char": "{{char}}"}
    return _UNSENT.sub("", _MARK.sub(lambda match: names[match[1].lower()], text)).strip()


def joined(*texts: str) -> str:
    """Paragraphs of what isn't empty."""
    return "\n\n".join(text for text in texts if text)


def shortened(text: str, length: int) -> str:
    """A text's first line, cut where it is longer than so many characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _data_of(card: Mapping[str, Any], is_new: bool = False) -> dict[str, Any]:
    """A card's fields, all that the formats name and the rest, each of the kind it must be."""
    spec = card.get("spec")
    if spec is not None and spec not in SPECS:
        raise ConfigError(f"its spec is {json.dumps(spec)[:40]}; Menny reads character cards of versions 1, 2 and 3")
    found = card.get("data") if spec is not None or "data" in card else card
    if not isinstance(found, dict) or (not is_new and not any(key in found for key in V1_TEXTS[1:])):
        raise ConfigError("it isn't a character card: there is no description, and no first message")
    data: dict[str, Any] = {**dict.fromkeys(TEXTS, ""), **{key: [] for key in LISTS}, "extensions": {}}
    data |= {key: value for key, value in copy.deepcopy(found).items() if value is not None or key not in data}
    for key in TEXTS:
        if not isinstance(data[key], str):
            raise ConfigError(f"its {key} must be text, not {json.dumps(data[key])[:40]}")
    for key in LISTS:
        if not isinstance(data[key], list) or not all(isinstance(item, str) for item in data[key]):
            raise ConfigError(f"its {key} must be a list of texts")
    if not isinstance(data["extensions"], dict):
        raise ConfigError("its extensions must be keys with values")
    return data


def _said(data: Mapping[str, Any]) -> dict[str, Any]:
    """The persona's values in a card's fields."""
    name = shortened(data["name"], 60)
    texts = {key: marked(data[key]) for key in TEXTS}
    examples = exchanges(texts["mes_example"], name)
    greetings = [texts["first_mes"], *map(marked, data["alternate_greetings"])]
    system = _ORIGINAL.sub("", texts["system_prompt"]).strip()
    prompt = joined(
        system or ("" if texts["description"].lower().startswith("you are") else NO_SYSTEM_PROMPT),
        texts["description"],
        texts["personality"] and f"{{{{char}}}}'s personality: {texts['personality']}",
        texts["scenario"] and f"Scenario: {texts['scenario']}",
        "" if examples or not texts["mes_example"] else f"How {{{{char}}}} talks:\n{texts['mes_example']}",
        _ORIGINAL.sub("", texts["post_history_instructions"]).strip(),
    )
    said = {
        "name": name,
        "tagline": shortened(data["creator_notes"], 80),
        "system_prompt": prompt,
        "greeting": next((greeting for greeting in greetings if greeting), ""),
        "examples": examples,
    }
    return _nicknamed(said, data)


def _nicknamed(said: T, data: Mapping[str, Any]) -> T:
    """The same with what {{char}} stands for in version 3."""
    nickname = data.get("nickname")
    return _renamed(said, nickname.strip()) if isinstance(nickname, str) and nickname.strip() else said


def _renamed(value: Any, nickname: str) -> Any:
    """A tree with every {{char}} as the nickname."""
    if isinstance(value, dict):
        return {key: _renamed(inner, nickname) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, nickname) for inner in value]
    return re.sub(r"\{\{char\}\}", lambda _: nickname, value, flags=re.IGNORECASE)


def _carry(data: dict[str, Any], persona: PersonaFile, now: Mapping[str, Any]) -> None:
    """Put what a card has no field for under our key in its extensions, or take it away where there is nothing."""
    others = {key: value for key, value in persona.extensions.items() if key != "card"}
    plain = checked(_said(data)).model_dump(mode="json")
    ours = {key: now[key] for key in CARRIED if now[key] != plain[key]} | ({"extensions": others} if others else {})
    data["extensions"].pop(OUR_KEY, None)
    if ours:
        data["extensions"][OUR_KEY] = ours


def _dialogue(examples: tuple[Example, ...]) -> str:
    return "\n".join(f"<START>\n{{{{user}}}}: {one.user}\n{{{{char}}}}: {one.assistant}" for one in examples)


def _cleaned(value: Any, depth: int = 0) -> Any:
    """A JSON value whose texts can be stored: no halves of characters, no control characters; and no endless tree."""
    if depth > 30:
        raise ConfigError("the card is nested too deep")
    if isinstance(value, dict):
        return {_key(key): _cleaned(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner, depth + 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("the card has a number that is too large")
    return sanitize(value) if isinstance(value, str) else value


def _key(key: str) -> str:
    plain = sanitize(key)
    if len(plain) > 100 or len(plain.splitlines()) > 1:
        raise ConfigError("the card has a key that is longer than 100 characters or one line")
    return plain


def _no_number(name: str) -> Any:
    raise ValueError(name)
