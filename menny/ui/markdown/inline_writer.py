"""What stands in a line, written for the page: text, emphasis, links, code and formulas.

Each stretch of text with the same emphasis is written in a span of its own, so that its stars and tildes can't meet
others; between stretches nothing needs to be weighed.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from markdown_it.token import Token

from menny.ui.markdown.addresses import split_www
from menny.ui.markdown.escaping import NOTHING, apart, edged, fits_apart, literal
from menny.ui.markdown.katex import is_drawable
from menny.ui.markdown.maths import FORMULA, Formula

Kind = Literal["text", "code", "formula", "break"]

_MARKERS = {"strong": "**", "em": "*", "s": "~~"}
_ICON = re.compile(r"(?<=:)(?=material/)")  # Streamlit changes `:material/` to `:material_` wherever it stands
_ESCAPED_PIPE = re.compile(r"(?<=\\)(?=\|)")
_TEX_PIPE = re.compile(r"\\\||\\.|\|", re.DOTALL)
_OPEN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


@dataclass(frozen=True, slots=True)
class Atom:
    """A stretch of a line: plain text, code, a formula or a line's end, with its emphasis and its link's address."""

    kind: Kind
    content: str
    marks: frozenset[str] = frozenset()
    href: str = ""
    formula: Formula | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: in a table's cell, pipes need care; on a single line, nothing may break it."""

    in_table: bool = False
    one_line: bool = False


def atoms_of(tokens: Iterable[Token]) -> list[Atom]:
    """Return markdown-it's inline tokens as atoms; texts that follow each other are one."""
    return _joined_texts(_atoms(tokens))


def _atoms(tokens: Iterable[Token]) -> Iterator[Atom]:
    marks: list[str] = []
    href, is_empty = "", True
    for token in tokens:
        at = Atom("text", "", frozenset(marks), href)
        is_empty = is_empty and not token.content
        match token.type:
            case "link_open":
                href, is_empty = str(token.attrs.get("href", "")), True
                if not href:
                    yield replace(at, content="[")
            case "link_close":
                if not href:
                    yield replace(at, content="]()")
                elif is_empty:
                    yield replace(at, content=f"[]({href})", href="")
                href = ""
            case "strong_open" | "em_open" | "s_open":
                marks.append(token.type.removesuffix("_open"))
            case "strong_close" | "em_close" | "s_close":
                marks.remove(token.type.removesuffix("_close"))
            case "softbreak" | "hardbreak":
                yield replace(at, kind="break")
            case "code_inline":
                yield replace(at, kind="code", content=token.content)
            case "formula":
                is_empty = False
                yield replace(at, kind="formula", formula=token.meta[FORMULA])
            case _:
                yield from _texts(token.content, at)


def _texts(text: str, at: Atom) -> Iterator[Atom]:
    for number, line in enumerate(text.split("\n")):
        if number:
            yield replace(at, kind="break")
        for part, href in [(line, at.href)] if at.href else split_www(line):
            yield replace(at, content=part, href=href)


def _joined_texts(atoms: Iterable[Atom]) -> list[Atom]:
    joined: list[Atom] = []
    for atom in atoms:
        last = joined[-1] if joined else None
        if last and atom.kind == "text" and replace(last, content="") == replace(atom, content=""):
            joined[-1] = replace(last, content=last.content + atom.content)
        else:
            joined.append(atom)
    return joined


def write_inline(atoms: Sequence[Atom], place: Place) -> str:
    """Return a line, or several with their ends kept, as the page's Markdown."""
    written = ""
    for href, group in itertools.groupby(_without_outer_breaks(atoms), lambda atom: atom.href):
        inner = ""
        for marks, run in itertools.groupby(group, lambda atom: (atom.marks, atom.kind == "break")):
            inner = _join(inner, _write_run(list(run), marks[0], place))
        written = _join(written, f"[{inner}](<{_write_address(href)}>)" if href else inner)
    return written


def _write_run(run: Sequence[Atom], marks: frozenset[str], place: Place) -> str:
    """Return atoms of the same emphasis; what can't be emphasised stands without."""
    if run[0].kind == "break":
        return " " if place.one_line else "\\\n"
    parts = [_write_atom(atom, place) for atom in run]
    whole = _join(*parts)
    if not marks or not whole.strip():
        return whole
    if fits_apart(whole):
        return _emphasised(whole, marks)
    return _join(*(_emphasised(part, marks) if part.strip() and fits_apart(part) else part for part in parts))


def _emphasised(written: str, marks: frozenset[str]) -> str:
    written = edged(written)
    for mark, marker in _MARKERS.items():
        if mark in marks:
            written = apart(f"{marker}{written}{marker}")
    return written


def _write_atom(atom: Atom, place: Place) -> str:
    match atom.kind:
        case "code":
            return _write_code(atom.content, place)
        case "formula" if atom.formula:
            return _write_formula(atom.formula, place)
        case _:
            return literal(atom.content)


def _write_code(content: str, place: Place) -> str:
    """Return code, in several spans where one can't hold it."""
    parts = _ICON.split(content)
    if place.in_table:
        parts = [piece for part in parts for piece in _ESCAPED_PIPE.split(part)]
    return _join(*(_code_span(part.replace("|", r"\|") if place.in_table else part) for part in parts))


def _code_span(content: str) -> str:
    ticks = "`" * (_longest_run("`", content) + 1)
    padded = (
        content.startswith("`") or content.endswith("`") or (content[:1] == content[-1:] == " " and content.strip())
    )
    return f"{ticks} {content} {ticks}" if padded else f"{ticks}{content}{ticks}"


def _write_formula(formula: Formula, place: Place) -> str:
    """Return a formula within a line: spaces, which the page takes away, keep it from its dollars."""
    tex = " ".join(formula.tex.split())
    if formula.display:
        tex = rf"\displaystyle {tex}"
    if place.in_table:
        tex = _TEX_PIPE.sub(_without_pipe, tex)
    if _OPEN_ESCAPE.search(tex):
        tex += " "
    if not is_drawable(tex, display=False):
        return literal(formula.written)
    dollars = "$" * (_longest_run("$", tex) + 1)
    return f"{dollars} {tex} {dollars}"


def _without_pipe(match: re.Match[str]) -> str:
    return {"|": r"\vert ", r"\|": r"\Vert "}.get(match[0], match[0])


def _write_address(href: str) -> str:
    """Return a link's address, percent-encoded by markdown-it already, so that no part of it can end it."""
    return re.sub(r"[\\`&$<>|\s*_~:]", lambda match: f"&#{ord(match[0])};", href)


def _join(*parts: str) -> str:
    """Return parts one after the other; marks that would have a meaning together are kept apart."""
    written = ""
    for part in parts:
        if written[-1:] + part[:1] in ("``", "$$", "!["):
            written += NOTHING
        written += part
    return written


def _longest_run(character: str, text: str) -> int:
    return max((len(run) for run in re.findall(re.escape(character) + "+", text)), default=0)


def _without_outer_breaks(atoms: Sequence[Atom]) -> Sequence[Atom]:
    start, end = 0, len(atoms)
    while start < end and _is_blank(atoms[start]):
        start += 1
    while start < end and _is_blank(atoms[end - 1]):
        end -= 1
    return atoms[start:end]


def _is_blank(atom: Atom) -> bool:
    return atom.kind == "break" or (atom.kind == "text" and not atom.content.strip(" \t\n"))
