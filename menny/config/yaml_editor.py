"""YAML files edited with their comments kept.

Only what changed is written anew: a top-level key's lines are put in the place of its old ones, and what stands between
keys stays to the letter. Comments within a value that changed are carried over by ruamel.yaml. Whoever writes the
result reads it back by the strict reader first.
"""

import io
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from menny.config.yaml_reader import PlainYamlError, is_plain, parse

LONGEST_LINE = 100  # characters of a text beyond which it is written as a block

Blocks = dict[str, tuple[str, str]]  # by key: its lines, and the blank lines and comments after them

_OTHER_LINE_END = re.compile("[\r\x85\u2028\u2029]")
_LINE = re.compile(r"[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+$")


def write_yaml(values: Mapping[str, Any]) -> str:
    """The text of a new file with these keys."""
    return "".join(_new_lines(key, value) for key, value in values.items())


def edit_yaml(text: str, changes: Mapping[str, Any], order: Sequence[str]) -> str | None:
    """A file's text with some of its top-level keys changed, added in the given order, or removed (None).

    None where the text can't be edited key by key: it isn't plain YAML, or several keys stand on one line.
    """
    try:
        document = parse(text)
    except PlainYamlError:
        return None
    lines_of = document.lines
    lines = _LINE.findall(text)
    starts = {str(path[0]): line - 1 for path, line in lines_of.items() if len(path) == 1}
    if not starts or len(set(starts.values())) < len(starts) or lines[min(starts.values())].lstrip().startswith("{"):
        return None
    blocks = _blocks(lines, starts)
    try:
        for key, value in changes.items():
            if key in starts:
                block, between = blocks[key]
                blocks[key] = ("" if value is None else _replaced(block, key, document.data[key], value), between)
    except YAMLError:  # what the strict reader takes and ruamel.yaml doesn't
        return None
    for key in sorted((key for key in changes if key not in starts and changes[key] is not None), key=order.index):
        earlier = [known for known in blocks if known in order[: order.index(key)]]
        blocks = _inserted(blocks, key, _new_lines(key, changes[key]), after=earlier[-1] if earlier else "")
    return "".join(value + between for value, between in blocks.values())


def _blocks(lines: list[str], starts: dict[str, int]) -> Blocks:
    """The lines by key; what comes before all keys stands under ''."""
    bounds = sorted(starts.items(), key=lambda item: item[1])
    blocks = {"": ("", "".join(lines[: bounds[0][1]]))}
    for (key, start), (_, after) in zip(bounds, [*bounds[1:], ("", len(lines))], strict=True):
        end = after
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1
        value = "".join(lines[start:end])
        blocks[key] = (value if value.endswith("\n") else value + "\n", "".join(lines[end:after]))
    return blocks


def _inserted(blocks: Blocks, key: str, text: str, after: str) -> Blocks:
    """A new key's lines right behind another's; what stood between that one and the next comes after both."""
    grown: Blocks = {}
    for known, (value, between) in blocks.items():
        if known != after:
            grown[known] = (value, between)
        elif after == "":
            grown |= {known: (value, between), key: (text, "")}
        else:
            grown |= {known: (value, ""), key: (text, between)}
    return grown


def _replaced(block: str, key: str, old: Any, new: Any) -> str:
    """A key's lines with another value, and the comments that can stay."""
    if isinstance(old, list) and isinstance(new, list) and (text := _with_items(block, key, old, new)):
        return text
    document = _round_trip().load(block)
    document[key] = _paragraphs(new) if isinstance(new, str) else _merged(document[key], new)
    return _dump(document)


def _with_items(block: str, key: str, old: list[Any], new: list[Any]) -> str | None:
    """A list's lines with other items: those that stay keep their lines, with the comments above them.

    None where the items don't each begin a line, or what comes out isn't what it should be.
    """
    lines = _LINE.findall(block)
    starts = [line - 1 for path, line in parse(block).lines.items() if len(path) == 2]
    marks = {lines[start][: lines[start].find("-") + 2] for start in starts}
    if not old or not new or len(marks) != 1 or (mark := marks.pop()).strip() != "-":
        return None
    indent = len(mark) - 2
    begins = [_above(lines, start, indent) for start in starts]
    end = _above(lines, len(lines), indent)
    items = ["".join(lines[a:b]) for a, b in zip(begins, [*begins[1:], end], strict=True)]
    kept: list[str] = []
    by_value = {repr(item): text for item, text in zip(old, items, strict=True)}
    pairs = SequenceMatcher(None, [repr(item) for item in old], [repr(item) for item in new], autojunk=False)
    for _, start, stop, new_start, new_stop in pairs.get_opcodes():
        for offset, value in enumerate(new[new_start:new_stop]):
            before = items[start + offset] if start + offset < stop else ""
            kept.append(by_value.pop(repr(value), "") or _item_lines(before, value, indent))
    text = "".join([*lines[: begins[0]], *kept, *lines[end:]])
    try:
        return text if parse(text).data == {key: new} else None
    except PlainYamlError:
        return None


def _item_lines(before: str, value: Any, indent: int) -> str:
    """A list item's lines, from those that it had before with the comments that can stay."""
    document = _round_trip().load(f"key:\n{before}") if before else CommentedMap(key=CommentedSeq([None]))
    document["key"][0] = _merged(document["key"][0], value)
    dumped = _LINE.findall(_dump(document))[1:]
    return "".join(" " * indent + line.removeprefix("  ") for line in dumped)


def _above(lines: list[str], start: int, indent: int) -> int:
    """The first of the blank lines and comments right above a line, which are about it."""
    while start > 1 and (not (line := lines[start - 1]).strip() or line[: indent + 1].lstrip().startswith("#")):
        start -= 1
    return start


def _merged(old: Any, new: Any) -> Any:
    """The old tree changed into the new one in its place, since comments hang on its nodes."""
    if isinstance(old, CommentedMap) and isinstance(new, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        for key, value in new.items():
            old[key] = _merged(old[key], value) if key in old else _styled(value)
        return old
    if isinstance(old, CommentedSeq) and isinstance(new, list):
        _merge_items(old, new)
        return old
    is_same = (
        old == new and isinstance(old, str) == isinstance(new, str) and isinstance(old, bool) == isinstance(new, bool)
    )
    return old if is_same else _styled(new)


def _merge_items(old: CommentedSeq, new: list[Any]) -> None:
    """Keep the items that stay, with their comments; change, remove and insert the others where they stand."""
    pairs = SequenceMatcher(None, [repr(_plain(item)) for item in old], [repr(item) for item in new], autojunk=False)
    for kind, start, end, new_start, new_end in reversed(pairs.get_opcodes()):
        if kind == "equal":
            continue
        changed = min(end - start, new_end - new_start)
        for offset in range(changed):
            old[start + offset] = _merged(old[start + offset], new[new_start + offset])
        for index in reversed(range(start + changed, end)):
            del old[index]
        for offset in range(changed, new_end - new_start):
            old.insert(start + offset, _styled(new[new_start + offset]))


def _plain(value: Any) -> Any:
    """A tree without what ruamel.yaml adds to it."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return next((kind(value) for kind in (str, int, float) if isinstance(value, kind)), value)


def _new_lines(key: str, value: Any) -> str:
    """A key that is new, with its value."""
    return _dump(CommentedMap({key: _paragraphs(value) if isinstance(value, str) else _styled(value)}))


def _paragraphs(text: str) -> Any:
    """A text of its own key, whose end the strict reader trims: as a block it may end with a line's end."""
    styled = _styled(text)
    return LiteralScalarString(text + "\n") if isinstance(styled, LiteralScalarString) else styled


def _styled(value: Any) -> Any:
    """Values as they are best read: paragraphs as a block, and quotes around text that reads as something else."""
    if isinstance(value, dict):
        return CommentedMap({_styled(key): _styled(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return CommentedSeq([_styled(inner) for inner in value])
    if not isinstance(value, str):
        return value
    if _OTHER_LINE_END.search(value):  # which a block would lose
        return DoubleQuotedScalarString(value)
    if "\n" in value or len(value) > LONGEST_LINE:
        return LiteralScalarString(value)
    return value if is_plain(value) else DoubleQuotedScalarString(value)


def _round_trip() -> YAML:
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 1 << 20  # no line is folded
    writer.allow_unicode = True
    writer.indent(mapping=2, sequence=4, offset=2)
    return writer


def _dump(document: CommentedMap) -> str:
    written = io.StringIO()
    _round_trip().dump(document, written)
    return written.getvalue()
