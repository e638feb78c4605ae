"""Lorebooks of other programs: the `character_book` of cards (versions 2 and 3), and SillyTavern's world info files.

What Menny doesn't read is kept in `extensions`, and goes out again as it came; a value of the wrong kind is left out
with a notice. Read from the public descriptions: character-card-spec-v2 and -v3, and SillyTavern's documentation.
"""

import copy
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from menny.config.yaml_models import from_data
from menny.errors import ConfigError
from menny.lorebooks.decorators import decorated
from menny.lorebooks.lorebook import MAX_CONTENT, MAX_ENTRIES, MAX_KEY, MAX_KEYS, Lorebook, LoreEntry
from menny.text import sanitize, storable

NO_LOREBOOK = "it isn't a lorebook: there are no entries"
CARD, WORLD_INFO = "card", "world_info"  # where an entry's or a book's original is kept
NAMED = "named"  # what a book without a name of its own was called
LOGIC: tuple[Literal["and any", "not all", "not any", "and all"], ...] = ("and any", "not all", "not any", "and all")
MAX_DEPTH = 14  # levels within what is kept for other programs
UNUSED = {  # what changes when SillyTavern calls an entry up, and is kept here without being used
    "group": "inclusion group",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "vectorized": "vector",
    "characterFilter": "character filter",
    "character_filter": "character filter",
    "triggers": "trigger",
    "ignoreBudget": "ignore budget",
    "ignore_budget": "ignore budget",
}
OF_SILLYTAVERN = {"selectiveLogic", "useProbability", "display_index"}  # in the extensions of an entry in its cards

_SYNTAX = re.compile(r"[\\^$.*+?()\[\]{}|]")  # of regular expressions
_SLASH = re.compile(r"(?<!\\)/")
_KEY = re.compile(r"\s*(/(?:\\.|[^/\\])+/[a-z]*)\s*(?:,|$)|([^,]*)(?:,|$)")  # of a list between commas

Raw = Mapping[str, Any]
Get = Callable[[str, str], Any]  # (the card's key, the world info's key) → its value, wherever it stands


def lorebook_of(found: Raw, fallback_name: str) -> tuple[Lorebook, list[str]]:
    """A lorebook in a card's `character_book` or in a world info file, and a notice for all that was left out.

    Raises ConfigError where it is neither.
    """
    entries = found.get("entries")
    listed = list(entries.values()) if isinstance(entries, dict) else entries
    if not isinstance(listed, list):
        raise ConfigError(NO_LOREBOOK)
    names = {name for raw in listed if isinstance(raw, dict) for name in raw}
    if "content" not in names and names & {"text", "entry"}:  # NovelAI's and Agnai's, of which nothing would be left
        raise ConfigError("it isn't a lorebook of a card or of SillyTavern: its entries have no content")
    kind = WORLD_INFO if isinstance(entries, dict) or ("key" in names and "keys" not in names) else CARD
    left_out = _LeftOut()
    read = [entry for raw in listed if (entry := _entry_of(raw, kind, left_out)) is not None]
    if len(read) > MAX_ENTRIES:
        left_out.add(f"{len(read) - MAX_ENTRIES:,} of its {len(read):,} entries were left out, as they are too many")
    rest = {**found, "entries": None}  # whose place among the keys is kept
    own_name = _line(found.get("name"))
    name = own_name or _line(fallback_name) or "Lorebook"
    values: dict[str, Any] = {
        "name": name,
        "description": sanitize(str(found.get("description") or ""))[:20_000].strip(),
        "entries": read[:MAX_ENTRIES],
        "extensions": {kind: _plain(rest)} | ({} if own_name else {NAMED: name}),
    }
    if (depth := _whole(found.get("scan_depth"), 0, 1000)) is not None:
        values["scan_depth"] = depth
    if budget := _whole(found.get("token_budget"), 0, 10**7):  # programs write 0 for no budget
        values["token_budget"] = budget
    if isinstance(found.get("recursive_scanning"), bool):
        values["recursive_scanning"] = found["recursive_scanning"]
    return from_data(values, Lorebook), left_out.notices


def card_book_of(book: Lorebook) -> dict[str, Any]:
    """A lorebook as the `character_book` of a card: what it came from where that is still true."""
    kept = book.extensions.get(CARD)
    rest: dict[str, Any] = copy.deepcopy(kept) if isinstance(kept, dict) else {}
    named = book.extensions.get(NAMED)
    was = lorebook_of({**rest, "entries": []}, named if isinstance(named, str) else "")[0]
    written: dict[str, Any] = {**rest}
    for key in ("name", "description", "scan_depth", "token_budget", "recursive_scanning"):
        value = getattr(book, key)
        if value != getattr(was, key) or (not rest and value is not None):
            written[key] = value
    written.setdefault("extensions", {})
    return {**written, "entries": [_card_entry(entry, number) for number, entry in enumerate(book.entries)]}


def _card_entry(entry: LoreEntry, number: int) -> dict[str, Any]:
    if same := unchanged(entry, CARD):
        return same
    kept = entry.extensions.get(CARD)
    raw: dict[str, Any] = {**copy.deepcopy(kept), "content": ""} if isinstance(kept, dict) else {"id": number}
    raw.pop("content_as_it_came", None)
    world = entry.extensions.get(WORLD_INFO)
    inner = raw.get("extensions")
    extensions = {
        **(_of_world_info(world) if isinstance(world, dict) else {}),
        **(inner if isinstance(inner, dict) else {}),
    }
    title = {"comment": entry.name, "name": entry.name} if entry.name or "comment" not in raw else {}
    further, is_selective = further_keys(entry, raw.get("secondary_keys"), raw.get("selective"))
    return {
        **raw,
        **title,
        "keys": list(entry.keys),
        "secondary_keys": further,
        "content": entry.content,
        "enabled": entry.enabled,
        "constant": entry.constant,
        "selective": is_selective,
        "insertion_order": entry.order,
        "case_sensitive": entry.case_sensitive,
        "extensions": {
            **extensions,
            "probability": entry.probability,
            "useProbability": entry.probability < 100,
            "selectiveLogic": LOGIC.index(entry.selective_logic),
            "scan_depth": entry.scan_depth,
            "match_whole_words": entry.match_whole_words,
            "case_sensitive": entry.case_sensitive,
            "exclude_recursion": entry.exclude_recursion,
            "prevent_recursion": entry.prevent_recursion,
            "delay_until_recursion": level_of(entry),
        },
    }


def further_keys(entry: LoreEntry, kept: Any, was_selective: Any) -> tuple[Any, bool]:
    """An entry's secondary keys as they go out, and whether they decide: those that didn't are still there."""
    if not entry.secondary_keys and kept and was_selective is False:
        return kept, False
    return list(entry.secondary_keys), bool(entry.secondary_keys)


def level_of(entry: LoreEntry) -> bool | int:
    """Whether an entry waits for others, by SillyTavern's one value for it: the number of its level from 2 on."""
    is_higher = entry.delay_until_recursion and entry.recursion_level > 1
    return entry.recursion_level if is_higher else entry.delay_until_recursion


def unchanged(entry: LoreEntry, kind: str) -> dict[str, Any] | None:
    """What an entry came from, in the format of that kind; None where it came from none, or was edited since."""
    kept = entry.extensions.get(kind)
    if not isinstance(kept, dict):
        return None
    raw = {**copy.deepcopy(kept), "content": entry.content}
    if raw.get("content_as_it_came") is not None:
        raw["content"] = raw.pop("content_as_it_came")
    was = _entry_of(raw, kind, _LeftOut())
    return raw if was is not None and was == _values_of(entry) else None


class _LeftOut:
    """The notices of an import: one for each kind of thing that was left out, with the number of them."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._unused: dict[str, None] = {}  # in their order

    def add(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1

    def add_unused(self, setting: str) -> None:
        self._unused[setting] = None

    @property
    def notices(self) -> list[str]:
        left_out = [what if count == 1 else f"{what} ({count:,} times)" for what, count in self._counts.items()]
        if not self._unused:
            return left_out
        names = ", ".join(self._unused)
        return [*left_out, f"some settings of entries ({names}) are kept for other programs, but not used here"]


def _entry_of(raw: Any, kind: str, left_out: _LeftOut) -> dict[str, Any] | None:
    """The values of an entry; None for what isn't one."""
    if not isinstance(raw, dict):
        left_out.add("an entry was left out, as it isn't an object")
        return None
    inner = raw.get("extensions")
    extensions = inner if isinstance(inner, dict) else {}

    def get(of_card: str, of_world_info: str) -> Any:
        if kind == WORLD_INFO:
            return raw.get(of_world_info)
        found = extensions.get(of_card)
        return raw.get(of_card) if found is None else found

    given = raw.get("content")
    content = sanitize(given if isinstance(given, str) else "").strip()
    if given is not None and not isinstance(given, str):
        left_out.add("an entry's content was left out, as it isn't text")
    if len(content) > MAX_CONTENT:
        left_out.add(f"an entry's content was cut to {MAX_CONTENT:,} characters")
    for name in dict.fromkeys(name for key, name in UNUSED.items() if _is_set(raw.get(key, extensions.get(key)))):
        left_out.add_unused(name)
    values = {
        "name": _line(raw.get("comment")) or _line(raw.get("name")),
        "keys": _keys(raw.get("keys" if kind == CARD else "key"), left_out),
        "secondary_keys": _keys(raw.get("secondary_keys" if kind == CARD else "keysecondary"), left_out)
        if raw.get("selective", True) is not False
        else [],
        "content": content[:MAX_CONTENT].strip(),
        "enabled": raw.get("enabled", True) is not False if kind == CARD else raw.get("disable", False) is not True,
        "constant": raw.get("constant") is True,
        "order": _whole(raw.get("insertion_order" if kind == CARD else "order"), -(10**9), 10**9, default=100),
        **_conditions(get),
    }
    values |= decorated(values, left_out.add_unused)
    if kind == CARD and raw.get("use_regex") is True and not OF_SILLYTAVERN & set(extensions):
        flags = "" if raw.get("case_sensitive") is True else "i"
        for name in ("keys", "secondary_keys"):
            values[name] = [_as_regex(key, flags) for key in values[name]]
    kept = {**raw, "content": None}
    if isinstance(given, str) and given != values["content"] and len(given) <= MAX_CONTENT:
        kept["content_as_it_came"] = given
    values["extensions"] = {kind: _plain(kept)}
    return values


def _conditions(get: Get) -> dict[str, Any]:
    """What both formats keep of when an entry is called up, under slightly different names."""
    probability, uses = get("probability", "probability"), get("useProbability", "useProbability")
    logic = get("selectiveLogic", "selectiveLogic")
    words = get("match_whole_words", "matchWholeWords")
    level = get("delay_until_recursion", "delayUntilRecursion")
    return {
        "probability": min(100.0, max(0.0, float(probability)))
        if _is_number(probability) and uses is not False
        else 100.0,
        "selective_logic": LOGIC[logic] if type(logic) is int and 0 <= logic < len(LOGIC) else LOGIC[0],
        "scan_depth": _whole(get("scan_depth", "scanDepth"), 0, 1000),
        "case_sensitive": get("case_sensitive", "caseSensitive") is True,
        "match_whole_words": words is not False,
        "exclude_recursion": get("exclude_recursion", "excludeRecursion") is True,
        "prevent_recursion": get("prevent_recursion", "preventRecursion") is True,
        "delay_until_recursion": bool(level),
        "recursion_level": _whole(level, 1, 1000, default=1) or 1,
    }


def _as_regex(key: str, flags: str) -> str:
    """A key of a card that says that its keys are regular expressions, unless it is a plain word.

    SillyTavern says so of all its keys, though in it, as here, slashes tell.
    """
    is_plain = key.startswith("/") or not _SYNTAX.search(key)
    return key if is_plain else f"/{_SLASH.sub(chr(92) + '/', key)}/{flags}"


def _values_of(entry: LoreEntry) -> dict[str, Any]:
    """An entry as `_entry_of` gives it, to be compared with what it came from."""
    return entry.model_dump(mode="json")


RENAMED = {  # what a card keeps in an entry's extensions, by its names in world info
    "position": "position",
    "depth": "depth",
    "group": "group",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "role": "role",
    "vectorized": "vectorized",
    "groupWeight": "group_weight",
    "groupOverride": "group_override",
    "automationId": "automation_id",
    "displayIndex": "display_index",
    "outletName": "outlet_name",
    "useGroupScoring": "use_group_scoring",
    "ignoreBudget": "ignore_budget",
    "triggers": "triggers",
    "characterFilter": "character_filter",
    "matchPersonaDescription": "match_persona_description",
    "matchCharacterDescription": "match_character_description",
    "matchCharacterPersonality": "match_character_personality",
    "matchCharacterDepthPrompt": "match_character_depth_prompt",
    "matchScenario": "match_scenario",
    "matchCreatorNotes": "match_creator_notes",
}

UNUSED |= {name: "matching source" for both in RENAMED.items() for name in both if name.startswith("match")}


def _of_world_info(raw: Raw) -> dict[str, Any]:
    """A world info entry's values that a card keeps in an entry's extensions, under the card's names."""
    return {theirs: raw[ours] for ours, theirs in RENAMED.items() if ours in raw}


def from_card_names(extensions: Raw) -> dict[str, Any]:
    """The same, the other way round."""
    return {ours: extensions[theirs] for ours, theirs in RENAMED.items() if theirs in extensions}


def _keys(value: Any, left_out: _LeftOut) -> list[str]:
    """The keys that are text; a text with commas is a list of them, as in SillyTavern: regular expressions may have
    commas too."""
    items = [one[1] or one[2] for one in _KEY.finditer(value) if one[0]] if isinstance(value, str) else value
    if not isinstance(items, list):
        if items:
            left_out.add("keys of an entry were left out, as they aren't a list")
        return []
    keys = list(dict.fromkeys(sanitize(item).strip() for item in items if isinstance(item, str)))
    if len(items) > len([item for item in items if isinstance(item, str)]):
        left_out.add("a key was left out, as it isn't text")
    if "" in keys:
        left_out.add("an empty key was left out")
    fitting = [key for key in keys if key and len(key) <= MAX_KEY]
    if len(fitting) < len([key for key in keys if key]) or len(fitting) > MAX_KEYS:
        left_out.add("keys of an entry were left out, as they are too long or too many")
    return fitting[:MAX_KEYS]


def _line(value: Any) -> str:
    return " ".join(sanitize(value).split())[:200].strip() if isinstance(value, str) else ""


def _is_set(value: Any) -> bool:
    """True for a value that another program would use: of a filter, one that names characters."""
    return any(map(_is_set, value.values())) if isinstance(value, dict) else bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, least: int, most: int, default: int | None = None) -> int | None:
    return min(most, max(least, int(value))) if _is_number(value) else default


def _plain(value: Any, depth: int = 0) -> Any:
    """A value that can be written down: texts without halves of characters, no number beyond JSON, no endless tree."""
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {sanitize(str(key)): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, depth + 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return storable(value) if isinstance(value, str) else value
