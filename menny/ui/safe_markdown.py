"""Text that others wrote, made safe to show: what is written is what is seen, and nothing is loaded for it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from menny.ui.markdown.block_writer import (
    Node,
    add_cursor,
    is_altered,
    language_of,
    literal_tree,
    tree_of,
    write_blocks,
)
from menny.ui.markdown.escaping import label
from menny.ui.markdown.parser import parse


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Code that the page's Markdown would change."""

    content: str
    language: str


def draw_markdown(text: str, cursor: str = "", place: DeltaGenerator | None = None) -> None:
    """Draw a message's Markdown here, or in place of what a placeholder shows."""
    parts = _parts(_read(text, cursor))
    if len(parts) == 1 and isinstance(parts[0], str):
        (place or st).markdown(parts[0], anchors=False)
        return
    with (place or st).container():
        for part in parts:
            if isinstance(part, CodeBlock):
                st.code(part.content, language=part.language or None)
            else:
                st.markdown(part, anchors=False)


def as_markdown(text: str, cursor: str = "") -> str:
    """Return a message as Markdown for `st.markdown`, with a cursor behind the last word if need be.

    Formulas, code, tables, lists and links to the web are drawn; HTML, pictures, diagrams, footnotes and Streamlit's
    own marks are shown as they are written.
    """
    return write_blocks(_read(text, cursor))


def as_label(text: str) -> str:
    """Return a plain text as it stands, for labels, captions and errors, which read Markdown as well."""
    return label(_sendable(text))


def _read(text: str, cursor: str) -> list[Node]:
    text = _sendable(text)
    tokens = parse(text)
    nodes = literal_tree(text) if tokens is None else tree_of(tokens)
    if cursor:
        add_cursor(nodes, cursor)
    return nodes


def _parts(nodes: Sequence[Node]) -> list[str | CodeBlock]:
    parts: list[str | CodeBlock] = []
    for altered, group in itertools.groupby(nodes, is_altered):
        if altered:
            parts += [CodeBlock(node.token.content.removesuffix("\n"), language_of(node)) for node in group]
        else:
            parts.append(write_blocks(list(group)))
    return parts or [""]


def _sendable(text: str) -> str:
    """Return a text without halves of characters, which can't be sent to the page."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
