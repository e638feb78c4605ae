"""Decorators: lines such as `@@depth 4` with which cards of version 3 begin a content. The model doesn't get them."""

from collections.abc import Callable, Mapping
from typing import Any

MARK = "@@"
MAX_DEPTH = 1000  # messages
UNUSED = (  # they change when an entry is called up
    "activate_only_after",
    "activate_only_every",
    "keep_activate_after_match",
    "dont_activate_after_match",
    "additional_keys",
    "exclude_keys",
    "is_greeting",
)


def without_decorators(content: str) -> str:
    """A content as the model gets it."""
    return _parted(content)[1]


def decorated(values: Mapping[str, Any], notify: Callable[[str], None]) -> dict[str, Any]:
    """What the decorators of an entry change in its values: `@@activate`, `@@dont_activate` and `@@scan_depth`.

    `notify` is called with the names of those that aren't used here.
    """
    given = _parted(values["content"])[0]
    for name in UNUSED:
        if name in given:
            notify(f"{MARK}{name}")
    changed: dict[str, Any] = {}
    if "activate" in given:
        changed["constant"] = True
    if "dont_activate" in given:
        changed["enabled"] = False
    if (depth := given.get("scan_depth", "")).isdecimal():
        changed["scan_depth"] = min(MAX_DEPTH, int(depth[:9]))
    return changed


def _parted(content: str) -> tuple[dict[str, str], str]:
    """The decorators with their values, and the rest of a content."""
    lines, given = content.split("\n"), dict[str, str]()
    while lines and lines[0].startswith(MARK):
        name, _, value = lines.pop(0).removeprefix(MARK).partition(" ")
        given[name] = value.strip()
    return given, "\n".join(lines)
