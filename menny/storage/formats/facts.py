"""Facts as a file of an archive: one JSON document, read back with everything in it checked."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from menny.errors import StorageError
from menny.storage.facts import Fact, Origin, as_line
from menny.storage.formats.json_parts import load, split
from menny.text import is_blank

FACTS_FILE = "memory/facts.json"
MOST = 100_000
LONGEST_ID = 200  # characters


def facts_as_files(facts: Iterable[Fact]) -> dict[str, bytes]:
    """Return the file, by its name in an archive; nothing where there are no facts."""
    listed = [asdict(fact) for fact in facts]
    return {FACTS_FILE: json.dumps(listed, ensure_ascii=False, indent=1).encode()} if listed else {}


def facts_of_files(files: Mapping[str, bytes]) -> list[Fact]:
    """Return the facts in an archive's files; those that aren't facts are left out. StorageError for another file."""
    data = files.get(FACTS_FILE)
    if data is None:
        return []
    split(data)  # which bounds what it holds
    listed = load(data, (0, len(data)))
    if not isinstance(listed, list) or len(listed) > MOST:
        raise StorageError(f"{FACTS_FILE} in the archive isn't a list of what personas remember. Nothing was imported.")
    return [fact for one in listed if (fact := _fact(one))]


def _fact(kept: object) -> Fact | None:
    if not isinstance(kept, dict):
        return None
    names = ("id", "persona", "text", "chat", "message")
    texts = {name: value for name in names if isinstance(value := kept.get(name, ""), str)}
    if len(texts) < len(names) or is_blank(texts["text"]) or not texts["id"] or not texts["persona"]:
        return None
    if any(len(texts[name]) > LONGEST_ID for name in names if name != "text"):
        return None
    created, origin = kept.get("created", 0.0), kept.get("origin")
    if not isinstance(created, int | float) or isinstance(created, bool) or not math.isfinite(created):
        return None
    known: Origin = "model" if origin == "model" else "user"
    return Fact(**{**texts, "text": as_line(texts["text"])}, origin=known, created=float(created))
