"""What was said, and by whom: frozen values that every room passes on, and what a text must be to be one."""

import unicodedata
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn's text, as its author wrote it."""

    role: Role
    content: str


def clean(text: str) -> str:
    """A text as it can be encoded, stored and shown: halves of characters joined or marked, control characters gone."""
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    lines = joined.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in lines if c in "\n\t" or unicodedata.category(c) != "Cc")


def is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen: white space, control and formatting characters only."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)
