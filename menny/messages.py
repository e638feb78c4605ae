"""Message: a turn of a conversation, the frozen value that every room passes on."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """A turn: its author's role and text; `thought` is a reasoning model's text before its answer."""

    role: Role
    content: str
    thought: str = ""
