"""A message's paragraphs, lists, tables and code, written for the page in one way each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from markdown_it.token import Token

from menny.ui.markdown.escaping import NOTHING, literal
from menny.ui.markdown.inline_writer import Atom, Place, atoms_of, write_inline
from menny.ui.markdown.maths import FORMULA, LITERAL, Formula

MATHS_AHEAD = '[maths]: <#> "$$maths$$"'
"""A line that shows nothing. By it the page is sure to load what draws formulas: it looks for dollars in the text as a
whole, and code before a formula can hide them from it."""

_CELL = Place(in_table=True, one_line=True)
_HEADING = Place(one_line=True)
_LANGUAGES = {"c++": "cpp", "c#": "csharp", "f#": "fsharp", "objective-c": "objectivec", "math": "latex"}
_DRAWN_LANGUAGES = {"mermaid": "text"}
_COMPACT = frozenset(("paragraph", "bullet_list", "ordered_list", "fence", "code_block"))
_TASK = re.compile(r"\[([ xX])\](?=[ \t\n])")
_RULES = {"left": ":--", "center": ":-:", "right": "--:", "": "---"}


@dataclass
class Node:
    """A block with the blocks within, or with the atoms of its line."""

    type: str
    token: Token
    children: list["Node"] = field(default_factory=list)
    atoms: list[Atom] = field(default_factory=list)


def tree_of(tokens: Sequence[Token]) -> list[Node]:
    """Return markdown-it's tokens as blocks."""
    root = Node("root", Token("root", "", 0))
    open_nodes = [root]
    for token in tokens:
        if token.nesting > 0:
            node = Node(token.type.removesuffix("_open"), token)
            open_nodes[-1].children.append(node)
            open_nodes.append(node)
        elif token.nesting < 0:
            open_nodes.pop()
        elif token.type == "inline":
            open_nodes[-1].atoms = atoms_of(token.children or [])
        else:
            open_nodes[-1].children.append(Node(token.type, token))
    return root.children


def literal_tree(text: str) -> list[Node]:
    """Return a text as a block that shows it line by line."""
    token = Token(LITERAL, "", 0)
    token.content = text
    return [Node(LITERAL, token)]


def add_cursor(nodes: list[Node], cursor: str) -> None:
    """Put a cursor behind what is written last."""
    if nodes:
        last = nodes[-1]
        match last.type:
            case "paragraph" | "heading" | "td" | "th":
                last.atoms.append(Atom("text", cursor))
                return
            case "fence" | "code_block":
                last.token.content = last.token.content.removesuffix("\n") + cursor
                return
            case "blockquote" | "bullet_list" | "ordered_list" | "list_item" | "table" | "thead" | "tbody" | "tr":
                add_cursor(last.children, cursor)
                return
            case _:
                pass
    nodes.append(Node("paragraph", Token("paragraph_open", "p", 1), atoms=[Atom("text", cursor)]))


def write_blocks(nodes: Sequence[Node]) -> str:
    """Return a message as the page's Markdown."""
    written = "\n\n".join(_blocks(nodes))
    if written != written.lstrip():  # Streamlit takes white space away, and what follows would begin a line
        written = NOTHING + written
    return f"{MATHS_AHEAD}\n\n{written}" if _hold_formula(nodes) else written


def _hold_formula(nodes: Sequence[Node]) -> bool:
    return any(
        node.type == FORMULA or any(atom.formula for atom in node.atoms) or _hold_formula(node.children)
        for node in nodes
    )


def _blocks(nodes: Sequence[Node]) -> list[str]:
    written: list[str] = []
    is_other_list = False  # two lists one after the other differ by their markers
    for before, node in zip([None, *nodes], nodes, strict=False):
        is_other_list = before is not None and before.type == node.type and not is_other_list
        written += _block(node, is_other_list)
    return written


def _block(node: Node, is_other_list: bool) -> list[str]:
    """Return a block; a paragraph is several where a formula has lines of its own."""
    match node.type:
        case "paragraph":
            return _paragraph(node.atoms)
        case "heading":
            return [f"{'#' * int(node.token.tag[1:])} {write_inline(node.atoms, _HEADING) or NOTHING}"]
        case "blockquote":
            return [_prefixed("\n\n".join(_blocks(node.children)) or NOTHING, "> ", "> ")]
        case "bullet_list" | "ordered_list":
            return [_list(node, is_other_list)]
        case "fence" | "code_block":
            return [_code(node)]
        case "hr":
            return ["***"]
        case "table":
            return [_table(node)]
        case "formula":
            return [_display(node.token.meta[FORMULA])]
        case _:
            return ["\\\n".join(filter(str.strip, map(literal, node.token.content.split("\n")))) or NOTHING]


def _paragraph(atoms: Sequence[Atom]) -> list[str]:
    parts: list[str] = []
    line: list[Atom] = []
    for atom in atoms:
        if atom.formula and _has_own_lines(atom):
            parts += [write_inline(line, Place()), _display(atom.formula)]
            line = []
        else:
            line.append(atom)
    parts.append(write_inline(line, Place()))
    return [part.strip(" ") for part in parts if part.strip()] or [NOTHING]


def _has_own_lines(atom: Atom) -> bool:
    return atom.formula is not None and atom.formula.display and not atom.href and not atom.marks


def _display(formula: Formula) -> str:
    tex = "\n".join(filter(None, (line.strip() for line in formula.tex.split("\n"))))
    return f"$$\n{tex}\n$$"


def is_altered(node: Node) -> bool:
    """Return whether the page would change this block of code: it takes `:material/` for an icon wherever it stands."""
    return node.type in ("fence", "code_block") and ":material/" in node.token.content


def language_of(node: Node) -> str:
    """Return the language of a block of code, by a name that can't mean a picture to the page."""
    info = node.token.info
    name = info.split(maxsplit=1)[0].lower() if info.strip() else ""
    known = _LANGUAGES.get(name) or "".join(re.findall(r"^[a-z0-9_]+", name))
    return _DRAWN_LANGUAGES.get(known, known)


def _code(node: Node) -> str:
    content = node.token.content
    if is_altered(node):
        in_lines = [[Atom("code", line)] if line else [] for line in content.removesuffix("\n").split("\n")]
        return "\\\n".join(write_inline(line, Place()) or NOTHING for line in in_lines)
    ticks = "`" * max(3, max((len(run) for run in re.findall("`+", content)), default=0) + 1)
    first = "\n" if content.startswith("\n") else ""  # the page takes one away
    return f"{ticks}{language_of(node)}\n{first}{content.removesuffix(chr(10))}\n{ticks}"


def _list(node: Node, is_other_list: bool) -> str:
    is_ordered = node.type == "ordered_list"
    first = int(node.token.attrs.get("start", 1)) if is_ordered else 0
    is_compact = _is_compact(node)
    items: list[str] = []
    for number, item in enumerate(node.children, start=first):
        marker = f"{number}{')' if is_other_list else '.'} " if is_ordered else ("+ " if is_other_list else "- ")
        task = _take_task(item)
        inner = ("\n" if is_compact else "\n\n").join(_blocks(item.children)) or NOTHING
        items.append(_prefixed(task + inner, marker, " " * len(marker)))
    return ("\n" if is_compact else "\n\n").join(items)


def _is_compact(node: Node) -> bool:
    """Return whether a list was written without empty lines, and can be again."""
    children = [child for item in node.children for child in item.children]
    later = [child for item in node.children for child in item.children[1:]]
    return (
        all(child.type in _COMPACT for child in children)
        and all(child.token.hidden for child in children if child.type == "paragraph")
        and not any(child.type == "paragraph" for child in later)
    )


def _take_task(item: Node) -> str:
    """Return the box of a task, and take it from the item's text."""
    if not item.children or item.children[0].type != "paragraph" or not item.children[0].atoms:
        return ""
    paragraph = item.children[0]
    text = paragraph.atoms[0]
    box = _TASK.match(text.content) if text.kind == "text" and not text.marks and not text.href else None
    if box is None:
        return ""
    rest = replace(text, content=text.content[box.end() :].lstrip())
    others = paragraph.atoms[1:]
    if not rest.content and (not others or _has_own_lines(others[0])):
        return ""
    paragraph.atoms = [rest, *others] if rest.content else others
    return "[ ] " if box[1] == " " else "[x] "


def _table(node: Node) -> str:
    rows = [row for part in node.children for row in part.children]
    cells = [[write_inline(cell.atoms, _CELL) for cell in row.children] for row in rows]
    aligned = [str(cell.token.attrs.get("style", "")).removeprefix("text-align:") for cell in rows[0].children]
    rules = [_RULES[one] for one in aligned]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], rules, *cells[1:]])


def _prefixed(text: str, first: str, others: str) -> str:
    """Return lines with a list's or a quote's marks before them."""
    start, *rest = text.split("\n")
    return "\n".join([first + start, *(others + line if line else others.rstrip(" ") for line in rest)])
