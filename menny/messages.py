"""What was said, and by whom: frozen values that every room passes on, and what a text must be to be one."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn's text, as its author wrote it; `thought` is what a reasoning model wrote before its answer."""

    role: Role
    content: str
    thought: str = ""
