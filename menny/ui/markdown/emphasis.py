"""Emphasis in Chinese, Japanese and Korean: 含**「重点」**内容.

CommonMark decides by spaces and punctuation whether stars begin or end emphasis. These scripts have no spaces, so that
a bold phrase that ends with punctuation would show its stars. Here, as in other programs for chats, their letters and
their punctuation let stars and tildes stand on either side.
"""

from collections.abc import Callable

from markdown_it.common.utils import isPunctChar, isWhiteSpace
from markdown_it.rules_inline import StateInline

Rule = Callable[[StateInline, bool], bool]

BLOCKS = (  # radicals to Yi, Hangul, compatibility forms, full width, and the planes of ideographs
    (0x1100, 0x11FF),
    (0x2E80, 0xA4CF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF01, 0xFFEE),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)


def between_unspaced(rule: Rule) -> Rule:
    """Return a rule that takes a run of marks as `rule` does, and beside these scripts more often as an end."""

    def take(state: StateInline, silent: bool) -> bool:
        start, known = state.pos, len(state.delimiters)
        if not rule(state, silent):
            return False
        before = state.src[start - 1] if start else " "
        after = state.src[state.pos] if state.pos < state.posMax else " "
        if state.src[start] != "_" and (_is_unspaced(before) or _is_unspaced(after)):
            for delimiter in state.delimiters[known:]:
                delimiter.open = _may_begin(before, after)
                delimiter.close = _may_begin(after, before)
        return True

    return take


def _may_begin(outside: str, inside: str) -> bool:
    """Return whether emphasis may begin between two characters; by turns of them, whether it may end there."""
    if isWhiteSpace(ord(inside)):
        return False
    is_mark = isPunctChar(inside) and not _is_unspaced(inside)
    return not is_mark or isWhiteSpace(ord(outside)) or isPunctChar(outside) or _is_unspaced(outside)


def _is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in BLOCKS)
