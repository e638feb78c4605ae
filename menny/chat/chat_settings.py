"""ChatSettings: what was chosen for one chat, as it is kept beside the chat (`Chat.settings`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from menny.chat.memory import Strategy
from menny.chat.thinking import Choice

SAMPLING = ("temperature", "max_tokens", "top_p", "top_k", "min_p", "repetition_penalty")
MEMORY = ("memory", "memory_turns", "memory_all_chats")
THINKING = ("thinking", "thought_tokens")


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """The settings of a chat; None, or an empty text, where nothing was chosen: then the persona's or the app's hold.

    Each is kept under its own name, by `Chat.set_settings(temperature=0.2)`.
    """

    persona: str = ""  # ids
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    memory: Strategy | None = None
    memory_turns: int | None = None
    memory_all_chats: bool | None = None
    thinking: Choice | None = None
    thought_tokens: int | None = None
    note: str = ""  # before questions, again after `note_depth` turns
    note_depth: int | None = None
    beginning: str = ""  # of each reply
    profile: str = ""  # of the user, by its id, where one was chosen for this chat
    known_as: str = ""  # the profile that was in force when the chat began
    draws: str = ""  # the seed of what macros draw
    begun: str = ""  # the time that macros read, in ISO 8601
    lorebooks: tuple[str, ...] = ()  # ids of those of this chat, beside the persona's
    folder: str = ""  # in the list of chats

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "ChatSettings":
        """Read what is kept; a value that isn't of its kind, as in a damaged file, is left out."""
        return cls(**{one.name: _frozen(kept[one.name]) for one in fields(cls) if _fits(one.type, kept.get(one.name))})

    def over(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Return these defaults, such as a persona's, with the chat's own values in place of them."""
        own = {name: getattr(self, name) for name in defaults}
        return {name: default if own[name] is None else own[name] for name, default in defaults.items()}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fits(kind: Any, value: Any) -> bool:
    """Return whether a value read from JSON is of a field's kind: one of the words of a Literal, a number, a text,
    a list of texts."""
    if get_origin(kind) is tuple:  # of texts
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    for option in get_args(kind) or (kind,):
        if get_origin(option) is Literal:
            is_fit = isinstance(value, str) and value in get_args(option)
        elif option is float:
            is_fit = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        else:
            is_fit = option is not NoneType and type(value) is option
        if is_fit:
            return True
    return False
