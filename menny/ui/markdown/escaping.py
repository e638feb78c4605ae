"""Plain text in the page's Markdown: every character stands for itself, and none is added to what is copied.

Streamlit 1.67 reads a text twice: as Markdown, where a backslash makes a character plain, and then text node by text
node for addresses, `:emoji:`, `:material/icon:` and arrows, which a backslash doesn't prevent. What these look for is
cut in two by a bare `<span>`, written as the directive `:color[…]` without a colour.
"""

import re

NOTHING = ":color[]"
"""A mark between two others that shows nothing, and keeps the page from reading them as one."""

_MAX_ESCAPES = 999
_MAX_BRACKETS = 32

_SPACE = re.compile(r"[ \t\n]+")
_CUT = r"""
    (?P<cut>
        :(?=[\w+-]+:)                                    # :emoji: :material_icon: :streamlit:
      | (?:(?<=http)|(?<=https)):(?=//)                  # an address
      | (?<=www)\.
      | (?<=[-.+\w])@(?=[-\w])                           # a mail address
    )
  | (?<![^\s:.@])(?P<arrow><->|->|<-|--|>=|<=|~=)(?![^\s:.@])
"""
_MARKS = re.compile(
    rf"""{_CUT}
  | (?P<mark>
        [$<*`~\[\]\\{{|\#]
      | :(?![ ])
      | (?<![^\W_])_ | _(?![^\W_])
      | &(?=[#\w])
      | (?<=material)/
      | (?:^|(?<=^[ ]))[>=+-]                            # a quote, a heading, a list
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ALL = re.compile(rf"{_CUT} | :(?![^ ]) | (?P<mark>[!-/:-@\[-`{{-~])", re.VERBOSE | re.IGNORECASE)
_NUMBER = re.compile(r"( ?\d{1,9})([.)])(?=\s|\Z)")
_LABEL = re.compile(r"\\[\[\]\\]|[\[\]]")


def literal(text: str) -> str:
    """Return Markdown that shows the text as it stands; white space counts as one space, as in any Markdown."""
    text = _SPACE.sub(" ", text)
    number = _NUMBER.match(text)
    start = f"{number[1]}\\{number[2]}" if number else ""
    return start + _MARKS.sub(_escape, text[number.end() if number else 0 :])


def label(text: str) -> str:
    """Return Markdown that shows the text line by line, and is safe between marks of the page's own."""
    written = (_ALL.sub(_escape, _SPACE.sub(" ", line)) for line in text.split("\n"))
    return "\\\n".join(filter(str.strip, written))


def apart(marked: str) -> str:
    """Return the Markdown in a span of its own, where its marks can't meet those around it."""
    return f":color[{marked}]"


def fits_apart(marked: str) -> bool:
    """Return whether `apart` can hold the Markdown: the page counts its brackets without regard to code."""
    depth = escapes = 0
    for match in _LABEL.finditer(marked):
        if match[0] == "[":
            depth += 1
        elif match[0] == "]":
            depth -= 1
        else:
            escapes += 1
        if not 0 <= depth <= _MAX_BRACKETS or escapes > _MAX_ESCAPES:
            return False
    return depth == 0


def edged(marked: str) -> str:
    """Return the Markdown with white space at its ends as numbers: emphasis may not begin or end with it."""
    start, end = (_as_number(character) for character in (marked[:1], marked[-1:]))
    return start + marked[1:-1] + end if len(marked) > 1 else start


def _as_number(character: str) -> str:
    return f"&#{ord(character)};" if character.isspace() else character


def _escape(match: re.Match[str]) -> str:
    written = match[0]
    match match.lastgroup:
        case "cut":
            return apart("\\" + written)
        case "arrow":
            return "".join(apart("\\" + mark) for mark in written[:-1]) + "\\" + written[-1]
        case "mark":
            return "\\" + written
        case _:  # a colon before a space
            return written
