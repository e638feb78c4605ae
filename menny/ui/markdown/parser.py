r"""The Markdown of messages: CommonMark with GitHub's tables, strikethrough and bare addresses, with emphasis
that CJK scripts can use, and with maths.

Different from these, so that what is written is seen: HTML and pictures are text, `~one tilde~` and a backslash before
a mark that means nothing in Markdown (`x\,dx`) too, a link leads to the web or to a mailbox, and a table's row keeps
all that is in it.
"""

import functools
import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block import reference as commonmark_reference
from markdown_it.rules_block.table import escapedSplit, getLine
from markdown_it.rules_block.table import table as github_table
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline import escape as commonmark_escape
from markdown_it.rules_inline import image as commonmark_image
from markdown_it.rules_inline.emphasis import tokenize as commonmark_emphasis
from markdown_it.rules_inline.strikethrough import tokenize as github_strikethrough
from markdown_it.token import Token

from menny.ui.markdown.addresses import mail_address, web_address
from menny.ui.markdown.emphasis import between_unspaced
from menny.ui.markdown.maths import display_formula, inline_formula

MAX_NESTING = 40
"""Quotes and lists in one another; markdown-it leaves out what is deeper."""

_LINK = re.compile(r"https?://[^/]|mailto:.", re.IGNORECASE)
_NOT_ESCAPABLE = frozenset(",;:/%=?@^\"'")


class _Parser(MarkdownIt):
    """Links to the web and to mailboxes; an address is shown as written."""

    def validateLink(self, url: str) -> bool:  # noqa: N802
        return _LINK.match(url) is not None

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802
        return link


def parse(text: str) -> list[Token] | None:
    """Return a message's tokens; None if it nests deeper than can be read."""
    tokens = _parser().parse(text)
    return None if any(token.level >= MAX_NESTING - 1 for token in tokens) else tokens


@functools.cache
def _parser() -> MarkdownIt:
    parser = _Parser("js-default", {"html": False, "maxNesting": MAX_NESTING})
    inline, block = parser.inline.ruler, parser.block.ruler
    inline.at("escape", _escape)
    inline.at("image", _picture)
    inline.at("emphasis", between_unspaced(commonmark_emphasis))
    inline.at("strikethrough", between_unspaced(_strikethrough))
    inline.before("escape", "formula", inline_formula)
    inline.before("escape", "web_address", web_address)
    inline.before("escape", "mail_address", mail_address)
    block.at("reference", _reference)
    block.at("table", _table, {"alt": ["paragraph", "reference"]})
    block.before("fence", "formula", display_formula, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


def _escape(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos + 1 : state.pos + 2] in _NOT_ESCAPABLE:
        return False
    return commonmark_escape(state, silent)


def _picture(state: StateInline, silent: bool) -> bool:
    """Take a picture as the text it is written with."""
    start = state.pos
    if not commonmark_image(state, silent):
        return False
    if not silent:
        state.tokens.pop()
        state.tokens_meta.pop()
        state.append_pending(state.src[start : state.pos])
    return True


def _strikethrough(state: StateInline, silent: bool) -> bool:
    """Take two tildes, no fewer and no more."""
    if silent or state.src[state.pos] != "~":
        return False
    length = state.scanDelims(state.pos, True).length
    if length == 2:
        return github_strikethrough(state, silent)
    state.append_pending("~" * length)
    state.pos += length
    return True


def _reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take a link's address written elsewhere, but not a footnote, which would be seen nowhere."""
    first = state.bMarks[start] + state.tShift[start]
    return not state.src.startswith("[^", first) and commonmark_reference(state, start, end, silent)


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take a table as GitHub does, but what a row has too much belongs to its last cell: pipes in code or in a formula
    part cells too, and what comes after the last column would be lost.
    """
    first = len(state.tokens)
    if not github_table(state, start, end, silent):
        return False
    row: list[Token] = []
    for token in state.tokens[first:]:
        if token.type == "tr_open":
            row, line = [], token.map[0] if token.map else start
        elif token.type == "inline":
            row.append(token)
        elif token.type == "tr_close":
            cells = escapedSplit(getLine(state, line).strip().removeprefix("|").removesuffix("|"))
            if len(cells) > len(row):
                row[-1].content = "|".join(cells[len(row) - 1 :]).strip()
    return True
