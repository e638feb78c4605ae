"""Lorebooks as SillyTavern's world info files: what they came from where that is still true."""

import copy
from typing import Any

from menny.lorebooks.convert import CARD, LOGIC, WORLD_INFO, from_card_names, further_keys, level_of, unchanged
from menny.lorebooks.lorebook import Lorebook, LoreEntry


def world_info_of(book: Lorebook) -> dict[str, Any]:
    """A lorebook as a world info file, which SillyTavern imports under the file's name."""
    kept = book.extensions.get(WORLD_INFO)
    rest: dict[str, Any] = copy.deepcopy(kept) if isinstance(kept, dict) else {}
    entries = {str(number): _entry(entry, number) for number, entry in enumerate(book.entries)}
    return (
        {**rest, "name": book.name, "entries": entries}
        if rest.get("name") != book.name
        else {**rest, "entries": entries}
    )


def _entry(entry: LoreEntry, number: int) -> dict[str, Any]:
    if raw := unchanged(entry, WORLD_INFO):
        return raw
    kept, card = entry.extensions.get(WORLD_INFO), entry.extensions.get(CARD)
    inner = card.get("extensions") if isinstance(card, dict) else None
    others = from_card_names(inner) if isinstance(inner, dict) else {}
    raw = copy.deepcopy(kept) if isinstance(kept, dict) else {"uid": number, "position": 0, "depth": 4, **others}
    raw.pop("content_as_it_came", None)
    further, _ = further_keys(entry, raw.get("keysecondary"), raw.get("selective"))
    return {
        **raw,
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
