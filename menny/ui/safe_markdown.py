"""Text that others wrote, made safe to show: a model's Markdown without pictures, HTML, maths or Streamlit's own marks.

A reply's code stays as it is to the letter. Around it, what would load or disguise something is turned into the
plain characters it is written with.
"""

import functools
import re

from markdown_it import MarkdownIt

# A zero-width character that keeps its neighbours from being read as one mark (`:` and `red[`, `-` and `>`).
JOINER = "\u2060"

_OUTSIDE_CODE = re.compile(
    r"""
    (?P<escaped>\\[!-/:-@\[-`{-~])                       # escaped already
  | (?P<url>\b[a-z][a-z0-9+.-]*://[^\s<>()\[\]]+         # an address would take a backslash into itself, so its
            (?:[^\s<!:$\\]*<)?)                          # dollars, and the `<` that ends it, go without
  | (?P<picture>!\[)                                     # ![alt](address)
  | (?P<line>(?<!\\)\n)                                 # a line's end, which Markdown would make a space
  | (?P<special>[$<])                                    # maths, HTML
  | (?P<mark>:)(?=:|[a-z]|[\w+-]+:)                      # :red[text], ::name, :smile:, :material/icon:
  | (?<=\S[ \t])(?P<arrow><->|->|<-|--|>=|<=|~=)(?=\s|$) # drawn as an arrow or dash
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ESCAPE_OR_TICKS = re.compile(r"\\.|`+", re.DOTALL)


def as_markdown(text: str) -> str:
    """A model's reply as Markdown for `st.markdown`."""
    lines = text.split("\n")
    shown: list[str] = []
    for first, last, is_code in _parts(text, len(lines)):
        part = "\n".join(lines[first:last])
        shown.append(_without_diagram(part) if is_code else _outside_code_spans(part))
    return "\n".join(shown)


def as_label(text: str) -> str:
    """A plain text as it stands, for labels and captions, which read Markdown as well."""
    escaped = re.sub(r"([!-/;-@\[-`{-~]|:(?=\d))", r"\\\1", text)  # a port: else an address would be a link up to it
    return re.sub(r":(?=[\w+-]+:|material\\/)", ":" + JOINER, escaped)


def _parts(text: str, count: int) -> list[tuple[int, int, bool]]:
    """The lines as (first, after last, is code): blocks of code, paragraphs, and what stands between them."""
    found = [
        (token.map[0], min(token.map[1], count), token.type != "inline")
        for token in _parser().parse(text)
        if token.map and token.type in ("fence", "code_block", "inline")
    ]
    parts: list[tuple[int, int, bool]] = []
    at = 0
    for first, last, is_code in found:
        parts.extend((line, line + 1, False) for line in range(at, first))
        parts.append((first, last, is_code))
        at = last
    parts.extend((line, line + 1, False) for line in range(at, count))
    return parts


@functools.cache
def _parser() -> MarkdownIt:
    """HTML is text to it, and so it will be shown."""
    return MarkdownIt("commonmark", {"html": False})


def _without_diagram(block: str) -> str:
    """A diagram's code is shown as code: drawing it would be more than showing what was written."""
    return re.sub(r"\A(\W*[`~]{3,}[ \t]*)mermaid\b", r"\1text", block, flags=re.IGNORECASE)


def _outside_code_spans(part: str) -> str:
    """A run of backticks opens a code span if another run of its length closes it."""
    shown: list[str] = []
    at = searched = 0
    while ticks := _ESCAPE_OR_TICKS.search(part, searched):
        searched = ticks.end()
        if ticks[0].startswith("\\"):
            continue
        if close := re.compile(rf"(?<!`){ticks[0]}(?!`)").search(part, searched):
            shown += [_neutral(part[at : ticks.start()]), part[ticks.start() : close.end()]]
            at = searched = close.end()
    return "".join([*shown, _neutral(part[at:])])


def _neutral(text: str) -> str:
    return _OUTSIDE_CODE.sub(_neutralise, text)


def _neutralise(match: re.Match[str]) -> str:
    written = match[0]
    match match.lastgroup:
        case "escaped":
            return written
        case "url":
            return written.replace("$", "%24")
        case "line":
            return "  \n"
        case "picture":
            return r"\!\["
        case "special":
            return "\\" + written
        case "mark":
            return r"\:" + JOINER
        case _:  # an arrow
            return ("\\" if written[0] == "<" else "") + written[0] + JOINER + written[1:]
