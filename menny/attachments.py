"""Attachments: files beside a message, kept as their text, and the form in which the model reads them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from menny.text import sanitize

ATTACHMENTS_KEY = "attachments"  # in a message's extra
MOST_ATTACHMENTS = 10  # of one message
MOST_CHARACTERS = 2_000_000  # of one file's text
LONGEST_NAME = 100

_UNCLEAN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # what `sanitize` changes: it is slow on long texts


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file's name and text; `tokens` by the vocabulary of the model that read it first, None before that."""

    name: str
    text: str
    tokens: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is kept beside a message."""
        return asdict(self)


def kept_attachments(extra: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """Read what is kept beside a message, by us or by a file of anybody's: what can't be an attachment is left out."""
    kept = extra.get(ATTACHMENTS_KEY)
    found = [_attachment(one) for one in kept[:MOST_ATTACHMENTS]] if isinstance(kept, list) else []
    return tuple(one for one in found if one)


def _attachment(kept: object) -> Attachment | None:
    if not isinstance(kept, dict) or not all(isinstance(kept.get(key), str) for key in ("name", "text")):
        return None
    tokens = kept.get("tokens")
    is_count = type(tokens) is int and tokens >= 0
    text = kept["text"][:MOST_CHARACTERS]
    clean = sanitize(text) if _UNCLEAN.search(text) else text
    return Attachment(plain_name(kept["name"]), clean, tokens if is_count else None)


def plain_name(name: str) -> str:
    """Return a file's name as one line without its folders; a long one is cut before its ending."""
    line = " ".join(sanitize(re.split(r"[/\\]", name)[-1]).split()) or "file"
    if len(line) <= LONGEST_NAME:
        return line
    stem, dot, ending = line.rpartition(".")
    ending = dot + ending if stem and len(ending) < 12 else ""
    return line[: LONGEST_NAME - len(ending) - 1] + "…" + ending


def framed(text: str, attachments: Sequence[Attachment]) -> str:
    """Return a user's message with its files before it, each in a fence that its text can't close."""
    parts = [f"File {one.name}:\n\n{_fenced(one.text)}" for one in attachments]
    return "\n\n".join([*parts, text] if text else parts)


def _fenced(text: str) -> str:
    runs = (len(run) for run in re.findall(r"`{3,}", text))
    fence = "`" * max([3, *(run + 1 for run in runs)])
    return f"{fence}\n{text.strip(chr(10))}\n{fence}"
