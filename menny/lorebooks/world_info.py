"""Lorebooks as SillyTavern's world info files: what they came from where that is still true."""

import copy
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from menny.lorebooks.convert import CARD, LOGIC, NAMED, WORLD_INFO, from_card_names, further_keys, level_of, unchanged
from menny.lorebooks.lorebook import Lorebook, LoreEntry


def world_info_of(book: Lorebook) -> dict[str, Any]:
    """A lorebook as a world info file, which SillyTavern imports under the file's name."""
    kept = book.extensions.get(WORLD_INFO)
    rest: dict[str, Any] = copy.deepcopy(kept) if isinstance(kept, dict) else {}
    if book.name != rest.get("name", book.extensions.get(NAMED)):
        rest = {**rest, "name": book.name}
    entries = {str(number): _entry(entry, number) for number, entry in _numbered(book.entries)}
    return {**rest, "entries": entries}


def _numbered(entries: Sequence[LoreEntry]) -> Iterator[tuple[int, LoreEntry]]:
    """Each entry with its number in the file, by which SillyTavern finds it: the one it came with, else a free one."""
    kept = [entry.extensions.get(WORLD_INFO) for entry in entries]
    came_with = [raw.get("uid") if isinstance(raw, dict) else None for raw in kept]
    taken = {number for number in came_with if type(number) is int and number >= 0}
    free = (number for number in count() if number not in taken)
    used: set[int] = set()
    for entry, number in zip(entries, came_with, strict=True):
        chosen = number if type(number) is int and number >= 0 and number not in used else next(free)
        used.add(chosen)
        yield chosen, entry


def _entry(entry: LoreEntry, number: int) -> dict[str, Any]:
    if same := unchanged(entry, WORLD_INFO):
        return {**same, "uid": number} if "uid" in same else same
    kept, card = entry.extensions.get(WORLD_INFO), entry.extensions.get(CARD)
    inner = card.get("extensions") if isinstance(card, dict) else None
    others = from_card_names(inner) if isinstance(inner, dict) else {}
    raw = copy.deepcopy(kept) if isinstance(kept, dict) else {"uid": number, "position": 0, "depth": 4, **others}
    raw.pop("content_as_it_came", None)
    further, _ = further_keys(entry, raw.get("keysecondary"), raw.get("selective"))
    return {
        **raw,
        "uid": number,
        "key": list(entry.keys),
        "keysecondary": further,
        "comment": entry.name,
        "content": entry.content,
        "constant": entry.constant,
        "selective": further == list(entry.secondary_keys),
        "selectiveLogic": LOGIC.index(entry.selective_logic),
        "order": entry.order,
        "disable": not entry.enabled,
        "probability": entry.probability,
        "useProbability": True,
        "scanDepth": entry.scan_depth,
        "caseSensitive": entry.case_sensitive,
        "matchWholeWords": entry.match_whole_words,
        "excludeRecursion": entry.exclude_recursion,
        "preventRecursion": entry.prevent_recursion,
        "delayUntilRecursion": level_of(entry),
    }
