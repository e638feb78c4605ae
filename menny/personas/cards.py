"""Character cards, as chat programs exchange them, to and from personas: versions 1, 2 and 3.

A card's texts become a persona; the card as it came is kept under the persona's `extensions`, so that it goes out again
with everything that Menny has no use for. What can't be kept or doesn't fit is left out with a notice. Guardrails are
none of a card's business: it can't name, add or remove one.
"""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import ConfigError
from menny.lorebooks.convert import card_book_of
from menny.lorebooks.lorebook import Lorebook
from menny.personas.card_fields import (
    LABELS,
    MAX_NAME,
    V1_TEXTS,
    V2_TEXTS,
    CardFields,
    cleaned,
    cut,
    data_of,
    exchanges,
    fields_of,
    joined,
    shortened,
)
from menny.personas.card_files import picture_with_card, zip_with_card
from menny.personas.macros import Draws
from menny.personas.persona import (
    MAX_EXAMPLE,
    MAX_EXAMPLES,
    MAX_EXTENSIONS,
    MAX_GREETING,
    Example,
    Persona,
    PersonaFile,
)
from menny.text import is_blank, size

Version = Literal[2, 3]

CARRIED = ("tagline", "system_prompt", "greeting", "suggestions", "examples", "parameters", "memory", "thinking")
READ = (*V1_TEXTS, *V2_TEXTS, "alternate_greetings")
OUR_KEY = "menny"
NO_SYSTEM_PROMPT = "You are {{char}}. Stay in character."
UNNAMED = "Unnamed"
MOST_NAMED = 5  # fields in notices
MAX_PROMPT, MAX_TAGLINE = 32_000, 80  # characters, as PersonaFile has them

_ORIGINAL = re.compile(r"\{\{original\}\}", re.IGNORECASE)
_CHAR = re.compile(r"\{\{char\}\}", re.IGNORECASE)


def persona_of(card: Mapping[str, Any]) -> PersonaFile:
    """The character that a card describes. Raises ConfigError where it isn't a card."""
    return read_card(card)[0]


def read_card(
    card: Mapping[str, Any], fallback_name: str = UNNAMED, room: int = MAX_EXTENSIONS
) -> tuple[PersonaFile, list[str]]:
    """The character that a card describes, and a notice for everything that was left out.

    At most `room` bytes of the card itself are kept. Raises ConfigError where it isn't a card.
    """
    notices: list[str] = []
    card = cleaned(card, notices)
    data = data_of(card)
    values = _persona_values(fields_of(data, notices), notices)
    if not values["name"]:
        values["name"] = shortened(fallback_name, MAX_NAME) or UNNAMED
        notices.append(f"its card has no name, so it is called {values['name']}")
    extensions = data.get("extensions")
    ours = extensions.get(OUR_KEY) if isinstance(extensions, dict) else None
    if isinstance(ours, dict):
        values |= _usable(ours, values, notices)
    others = ours.get("extensions") if isinstance(ours, dict) else None
    kept = dict(others) if isinstance(others, dict) else {}
    values["extensions"] = _with_card(kept, card, room, notices)
    return checked(values), notices


def alternate_greetings(persona: PersonaFile) -> list[str]:
    """A persona's other greetings, with their macros: its own or, where it names none, those of its card."""
    if persona.alternate_greetings is not None:
        return [text for text in dict.fromkeys(persona.alternate_greetings) if text != persona.greeting]
    card = persona.extensions.get("card")
    try:
        fields = fields_of(data_of(card), []) if isinstance(card, dict) else None
    except ConfigError:  # what stands under `extensions` is anybody's to write
        return []
    texts = [_nicknamed(text, fields.nickname) for text in fields.greetings] if fields else []
    return [text for text in dict.fromkeys(texts) if text != persona.greeting]


def greetings_of(persona: Persona, user: str = "", draws: Draws | None = None) -> list[str]:
    """The first messages that a chat can begin with, the usual one first, their macros expanded."""
    texts = [persona.greeting_text(user, text, draws) for text in (persona.greeting, *alternate_greetings(persona))]
    return [text for text in dict.fromkeys(texts) if not is_blank(text)]


def card_of(persona: PersonaFile, version: Version, books: Sequence[Lorebook] = ()) -> dict[str, Any]:
    """A persona as a card: the one it came from where that is still true, and Menny's own values where it isn't.

    A card has room for one lorebook, so that of several `books` all entries stand in the first.
    """
    kept = persona.extensions.get("card")
    card: dict[str, Any] = copy.deepcopy(kept) if isinstance(kept, dict) else {}
    found = card.get("data")
    before = found if isinstance(found, dict) else card
    data = _completed(before)
    was = _persona_values(fields_of(data, []), [])
    now = persona.model_dump(mode="json")
    if was["name"] != persona.name:
        data["name"] = persona.name
    if was["greeting"] != persona.greeting:
        data["first_mes"] = persona.greeting
    if (others := persona.alternate_greetings) is not None and others != fields_of(data, []).greetings:
        data["alternate_greetings"] = list(others)
    if was["system_prompt"] != persona.system_prompt:
        data |= {"description": "", "personality": "", "scenario": "", "post_history_instructions": ""}
        data["system_prompt"] = persona.system_prompt
    if was["examples"] != now["examples"]:
        data["mes_example"] = _dialogue(persona.examples)
    data["creator_notes"] = data["creator_notes"] or persona.tagline
    if books:
        entries = tuple(entry for book in books for entry in book.entries)
        data["character_book"] = card_book_of(books[0].model_copy(update={"entries": entries}))
    _carry(data, persona, now)
    if version == 3:
        data.setdefault("group_only_greetings", [])
    changed = {key: data[key] for key in V1_TEXTS if key in card and data[key] != (before.get(key) or "")}
    around = {**card, **changed, "data": data} if "data" in card else {"data": data}
    return {**around, "spec": f"chara_card_v{version}", "spec_version": f"{version}.0"}


def as_json(persona: PersonaFile, version: Version, books: Sequence[Lorebook] = ()) -> bytes:
    """A card's JSON file."""
    return json.dumps(card_of(persona, version, books), ensure_ascii=False, indent=2).encode()


def as_png(persona: PersonaFile, version: Version, picture: bytes, books: Sequence[Lorebook] = ()) -> bytes:
    """A card's PNG file, from the persona's picture."""
    return picture_with_card(picture, "ccv3" if version == 3 else "chara", as_json(persona, version, books))


def as_charx(persona: PersonaFile, picture: bytes, books: Sequence[Lorebook] = ()) -> bytes:
    """A card's zip, which version 3 has, with the persona's picture."""
    return zip_with_card(picture, card_of(persona, 3, books))


def checked(values: Mapping[str, Any]) -> PersonaFile:
    """A persona of these values; raises ConfigError that names the first one it can't hold."""
    try:
        return from_data({key: value for key, value in values.items() if value is not None}, PersonaFile)
    except ValidationError as error:
        (place, message), *_ = field_errors(error, PersonaFile)
        where = "" if message.startswith("Unknown key") else f"its {'.'.join(str(part) for part in place)} "
        raise ConfigError(f"{where}{message[0].lower()}{message[1:].rstrip('.')}") from None


def fitting_examples(pairs: Iterable[Mapping[str, str]], notices: list[str]) -> list[dict[str, str]]:
    """The first exchanges, each short enough, that a persona can hold."""
    found = [dict(pair) for pair in pairs]
    short = [pair for pair in found if max(map(len, pair.values())) <= MAX_EXAMPLE]
    if left_out := len(found) - len(short[:MAX_EXAMPLES]):
        notices.append(f"{left_out} of its {len(found)} example exchanges were left out, as they are too long or many")
    return short[:MAX_EXAMPLES]


def fitting_text(text: str, length: int, label: str, notices: list[str]) -> str:
    """A text cut at a paragraph's or a line's end where it is too long."""
    if len(text) <= length:
        return text
    notices.append(f"its {label} was cut to {length:,} of {len(text):,} characters")
    return cut(text, length)


def _persona_values(fields: CardFields, notices: list[str]) -> dict[str, Any]:
    """The persona's values in a card's fields."""
    texts = fields.texts
    name = "" if is_blank(texts["name"]) else shortened(texts["name"], MAX_NAME)
    pairs = exchanges(texts["mes_example"], name)
    renamed = [{who: _nicknamed(text, fields.nickname) for who, text in pair.items()} for pair in pairs]
    examples = fitting_examples(renamed, notices)
    system = _ORIGINAL.sub("", texts["system_prompt"]).strip()
    prompt = joined(
        system or ("" if texts["description"].lower().startswith("you are") else NO_SYSTEM_PROMPT),
        texts["description"],
        texts["personality"] and f"{{{{char}}}}'s personality: {texts['personality']}",
        texts["scenario"] and f"Scenario: {texts['scenario']}",
        "" if examples or not texts["mes_example"] else f"How {{{{char}}}} talks:\n{texts['mes_example']}",
        _ORIGINAL.sub("", texts["post_history_instructions"]).strip(),
    )
    greeting = next((text for text in (texts["first_mes"], *fields.greetings) if text), "")
    return {
        "name": name or fields.nickname,
        "tagline": shortened(texts["creator_notes"], MAX_TAGLINE),
        "system_prompt": fitting_text(_nicknamed(prompt, fields.nickname), MAX_PROMPT, "text", notices),
        "greeting": fitting_text(_nicknamed(greeting, fields.nickname), MAX_GREETING, "greeting", notices),
        "examples": examples,
    }


def _usable(ours: Mapping[str, Any], values: Mapping[str, Any], notices: list[str]) -> dict[str, Any]:
    """The values that another Menny put into a card, as far as a persona can hold them."""
    usable: dict[str, Any] = {}
    for key in CARRIED:
        if key in ours:
            try:
                checked({**values, **usable, key: ours[key]})
                usable[key] = ours[key]
            except ConfigError:
                notices.append(f"its value of '{key}' for Menny was left out, as it can't be used")
    return usable


def _with_card(kept: dict[str, Any], card: dict[str, Any], room: int, notices: list[str]) -> dict[str, Any]:
    """Extensions with the card, of which the largest fields are left out until there is room for the rest."""
    card = copy.deepcopy(card)
    data = card.get("data")
    for key, value in list(kept.items()):
        if _bytes_of(value) > room // 2:
            del kept[key]
            notices.append(f"its {key} was left out, as it takes {size(_bytes_of(value))}")
    if _bytes_of({**kept, "card": card}) > room and data_of(card) is data:
        for key in READ:
            card.pop(key, None)  # repeated beside the data for programs that know version 1 only
    excess = _bytes_of({**kept, "card": card}) - room
    dropped: list[tuple[int, str]] = []
    for number, holder, key in sorted(_unread_fields(card), key=lambda field: -field[0]):
        if excess <= 0:
            break
        del holder[key]
        excess -= number
        dropped.append((number, LABELS.get(key, shortened(key, 40))))
    notices += [f"its {label} was left out, as it takes {size(number)}" for number, label in dropped[:MOST_NAMED]]
    if more := dropped[MOST_NAMED:]:
        notices.append(f"{len(more):,} more of its fields were left out, as there isn't room for all")
    if excess > 0:
        greetings = data_of(card).get("alternate_greetings")
        before = len(greetings) if isinstance(greetings, list) else 0
        while isinstance(greetings, list) and greetings and excess > 0:
            excess -= _bytes_of(greetings.pop()) + len(", ")
        if before:
            left_out = before - len(greetings or ())
            notices.append(f"{left_out:,} of its {before:,} other greetings were left out, as there isn't room for all")
    if _bytes_of({**kept, "card": card}) > room:
        notices.append("its card wasn't kept, as it is too large: an export has only what Menny reads of it")
        return kept
    return {**kept, "card": card}


def _unread_fields(card: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield the size in bytes of each field that Menny doesn't read, with the object that holds it, and its key."""
    data = card.get("data")
    holders = [card, data] if isinstance(data, dict) else [card]
    holders += [extensions for holder in holders if isinstance(extensions := holder.get("extensions"), dict)]
    for holder in holders:
        for key, value in holder.items():
            if key not in READ and not (key in ("data", "extensions") and isinstance(value, dict)):
                yield _bytes_of({key: value}), holder, key


def _bytes_of(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _completed(found: Mapping[str, Any]) -> dict[str, Any]:
    """A card's data with everything that version 2 wants; what is there stays as it is."""
    data = copy.deepcopy({key: value for key, value in found.items() if key not in ("spec", "spec_version")})
    texts = dict.fromkeys((*V1_TEXTS, *V2_TEXTS, "creator", "character_version"), "")
    for key, default in {**texts, "alternate_greetings": [], "tags": []}.items():
        if data.get(key) is None:
            data[key] = copy.deepcopy(default)
    if not isinstance(data.get("extensions"), dict):
        data["extensions"] = {}
    return data


def _nicknamed(text: str, nickname: str) -> str:
    """A text with what {{char}} stands for in version 3."""
    return _CHAR.sub(lambda _: nickname, text) if nickname else text


def _carry(data: dict[str, Any], persona: PersonaFile, now: Mapping[str, Any]) -> None:
    """Put what a card has no field for under our key in its extensions, or remove that where there is nothing."""
    others = {key: value for key, value in persona.extensions.items() if key != "card"}
    plain = checked(_persona_values(fields_of(data, []), [])).model_dump(mode="json")
    ours = {key: now[key] for key in CARRIED if now[key] != plain[key]} | ({"extensions": others} if others else {})
    data["extensions"].pop(OUR_KEY, None)
    if ours:
        data["extensions"][OUR_KEY] = ours


def _dialogue(examples: tuple[Example, ...]) -> str:
    return "\n".join(f"<START>\n{{{{user}}}}: {one.user}\n{{{{char}}}}: {one.assistant}" for one in examples)
