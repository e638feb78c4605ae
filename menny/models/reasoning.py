"""Reasoning models: known by their names, by a catalogue's entry, or by the words that come with their files."""

import re
from pathlib import Path

from menny.models.catalogue import ModelSpec, RepoSource, ServerSource
from menny.prompts import our_words

WORDS_FILE = "SYSTEM_PROMPT.txt"
MOST_WORDS = 16_000  # characters

_NAME = re.compile(r"magistral|reasoning|reasoner|thinking|(?<![a-z0-9])r1(?![a-z0-9])", re.IGNORECASE)
_HAS_TOKENS = re.compile(r"magistral(?!.*2506)|ministral.*reasoning", re.IGNORECASE)  # for thoughts
_SHOWS_THOUGHT = re.compile(r"\[THINK\].*\[/THINK\]|<think>.*</think>", re.DOTALL)


def own_words(path: Path | None) -> str:
    """Return the words beside a model's files that ask it to think; "" where there are none.

    Other models come with such a file too, which says who they are: it counts only where it shows a thought.
    """
    if path is None:
        return ""
    file = (path if path.is_dir() else path.parent) / WORDS_FILE
    try:
        with file.open(encoding="utf-8") as opened:
            words = opened.read(MOST_WORDS + 1)
    except (OSError, ValueError):
        return ""
    return words.strip() if len(words) <= MOST_WORDS and _SHOWS_THOUGHT.search(words) else ""


def words_of(spec: ModelSpec) -> str:
    """Return the words that a model's files, or its family on a server, ask it to think with; "" for none."""
    if isinstance(spec.source, ServerSource):  # its vocabulary isn't known here
        return our_words(has_tokens=True) if any(map(_HAS_TOKENS.search, _names(spec))) else ""
    return own_words(spec.path())


def is_reasoner(spec: ModelSpec) -> bool:
    """Return True for a model that was trained to think before it answers."""
    if spec.thinks is not None:
        return spec.thinks
    return any(map(_NAME.search, _names(spec))) or bool(own_words(spec.path()))


def _names(spec: ModelSpec) -> list[str]:
    names = [Path(spec.id).name, spec.name]  # the id of a model of the user's own is its path
    if isinstance(spec.source, RepoSource):
        names.append(spec.source.repo)
    elif isinstance(spec.source, ServerSource):
        names.append(spec.source.served or "")
    return names
