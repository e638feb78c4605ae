r"""Find the formulas of a message: `$$…$$`, `\[…\]`, `\(…\)`, and `$…$` where no amount of money can be meant."""

import re
from dataclasses import dataclass

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from menny.ui.markdown.katex import is_drawable

FORMULA = "formula"
"""The type of a token that holds a `Formula` in its `meta`."""

LITERAL = "literal"
"""The type of a block token whose content is shown as written."""


@dataclass(frozen=True, slots=True)
class Formula:
    """TeX between delimiters: `written` with them, `tex` without."""

    written: str
    tex: str
    display: bool


_DISPLAYS = {"$$": "$$", r"\[": r"\]"}
_INLINE = re.compile(
    r"""
    (?<!\$)\$\$(?!\$) (?P<dollars>(?:[^$\\]|\\.)+) \$\$(?!\$)
  | \\\[ (?P<brackets>(?:[^\\]|\\[^()\[\]])+) \\\]
  | \\\( (?P<parentheses>(?:[^\\]|\\[^()\[\]])+) \\\)
  | (?<![\w$])\$(?![\s$]) (?P<dollar>(?:[^$\\\n`]|\\[^\n`])+) (?<!\s)\$(?![\w$({])
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMED = re.compile(r"\\(?:text\w*|math\w+|operatorname|begin|end)\*?\s*\{[^{}]*\}|\\[a-zA-Z]+")
_WORD = re.compile(r"[^\W\d_]{3,}|\b(?:or|to|in|at|of|on|an|as|by|is|if|it|no|so|up|we|us|vs)\b", re.IGNORECASE)
_COMMAND = re.compile(r"\\[a-zA-Z]")
_SIGN = re.compile(r"[\^_=]")
_SCRIPT = re.compile(r"[\^_]\{")


def inline_formula(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: a formula within a paragraph."""
    if state.src[state.pos] not in "$\\":
        return False
    match = _INLINE.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    kind, tex = match.lastgroup or "", match[match.lastgroup or 0]
    if not (_is_unambiguous(tex) if kind == "dollar" else _is_likely(tex)):
        return False
    if not silent:
        formula = Formula(match[0], tex, display=kind in ("dollars", "brackets"))
        if is_drawable(tex, formula.display):
            state.push(FORMULA, "", 0).meta = {FORMULA: formula}
        else:
            state.append_pending(match[0])
    state.pos = match.end()
    return True


def display_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A rule of markdown-it: a formula that has its lines to itself."""
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    close = _DISPLAYS.get(first[:2])
    if close is None or first[2:3] == "$":
        return False
    last = _last_line(state, start, end, close)
    if last is None:
        return False
    written = state.getLines(start, last + 1, state.blkIndent, False).strip()
    tex = written[2:-2]
    if close in tex or not _is_likely(tex):
        return False
    if not silent:
        token = state.push(FORMULA if is_drawable(tex, display=True) else LITERAL, "", 0)
        token.content = written
        token.meta = {FORMULA: Formula(written, tex, display=True)}
        token.map = [start, last + 1]
        state.line = last + 1
    return True


def _last_line(state: StateBlock, start: int, end: int, close: str) -> int | None:
    """Return the line whose end closes a formula; None if there is a blank line or another block before it."""
    for line in range(start, end):
        if state.isEmpty(line) or (line > start and state.sCount[line] < state.blkIndent):
            return None
        text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
        if line == start:
            text = text[2:]
        if close in text:
            return line if text.rstrip().endswith(close) else None
    return None


def _is_likely(tex: str) -> bool:
    r"""Return whether delimiters that are clear hold maths: brackets of a text may be escaped too, `\[sic\]`."""
    if not tex.strip():
        return False
    return bool(_COMMAND.search(tex) or _SIGN.search(tex)) or not _WORD.search(tex)


def _is_unambiguous(tex: str) -> bool:
    """Return whether text between single dollars is maths: no words but those of commands, and something to compute."""
    if not (_COMMAND.search(tex) or any(character.isalnum() for character in tex)):
        return False
    return bool(_COMMAND.search(tex) or _SCRIPT.search(tex)) or not _WORD.search(_NAMED.sub(" ", tex))
