"""YAML of the plain kind: a tree of keys, lists, text and numbers, with the line on which each of them stands.

Config files come from other people too. A file is measured before it is read, its nesting is counted while it is
read, and anchors, aliases, tags, double keys and second documents are refused.
"""

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_KEY = 100

KeyPath = tuple[str | int, ...]
Loader = Any  # a yaml.SafeLoader, whose methods carry no types


class PlainYamlError(Exception):
    """A file that isn't the YAML we read; the line is 0 where it concerns the whole file."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass
class PlainYaml:
    """What a file says, and the line of every key and item in it."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)


def read(path: Path) -> str:
    """A file's text; raises PlainYamlError where it isn't a small file of UTF-8."""
    try:
        if not path.is_file():
            raise PlainYamlError(0, "it isn't a file" if path.exists() else "there is no such file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PlainYamlError(0, f"the file can't be read ({getattr(error, 'strerror', None) or error})") from None
    if len(raw) > MAX_BYTES:
        raise PlainYamlError(
            0, f"the file is larger than {MAX_BYTES // 1024} KiB; a config file is a few pages of text"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlainYamlError(line, "the file isn't UTF-8 text; save it with the encoding UTF-8") from None


def parse(text: str) -> PlainYaml:
    """The tree in a text; raises PlainYamlError where it is anything but one plain mapping."""
    document = PlainYaml()
    try:
        loader: Loader = yaml.SafeLoader(text)
        loader.get_event()  # the stream's start
        if not loader.check_event(yaml.StreamEndEvent):
            loader.get_event()  # the document's start
            document.data = _value(loader, loader.get_event(), (), document.lines)
            loader.get_event()  # the document's end
        if not loader.check_event(yaml.StreamEndEvent):
            raise PlainYamlError(_line(loader.peek_event()), "a second document starts here; keep one document a file")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PlainYamlError(
            line, f"the character U+{ord(text[error.position]):04X} isn't allowed here; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise PlainYamlError(*_syntax(error)) from None
    if document.data is None:
        raise PlainYamlError(0, "the file is empty")
    if not isinstance(document.data, dict):
        raise PlainYamlError(1, "the file must hold keys with values, such as name: Menny")
    return document


def is_plain(text: str) -> bool:
    """Whether a text that stands without quotes is read as text, and not as a number, yes or no, or nothing."""
    loader: Loader = yaml.SafeLoader("")
    return bool(loader.resolve(yaml.ScalarNode, text, (True, False)).endswith(":str"))


def _value(loader: Loader, event: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """The value that starts with this event; every key's and item's line is noted on the way."""
    line = _line(event)
    if isinstance(event, yaml.AliasEvent):
        raise PlainYamlError(line, f"the alias *{str(event.anchor)[:40]} isn't allowed; write the value out")
    if event.anchor is not None:
        raise PlainYamlError(
            line, f"the anchor &{event.anchor[:40]} isn't allowed; write the value out where it is needed"
        )
    if event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:40]
        raise PlainYamlError(line, f"the tag {tag} isn't allowed; remove it")
    if len(path) > MAX_DEPTH:
        raise PlainYamlError(line, f"nested more than {MAX_DEPTH} levels deep; a config file needs two or three")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(loader, event)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            here = (*path, len(items))
            lines[here] = _line(event)
            items.append(_value(loader, event, here, lines))
        return items
    return _mapping(loader, path, lines)


def _mapping(loader: Loader, path: KeyPath, lines: dict[KeyPath, int]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
        plain = isinstance(event, yaml.ScalarEvent) and not event.anchor and not event.tag
        if not plain or len(event.value) > MAX_KEY or "\n" in event.value:
            raise PlainYamlError(_line(event), "a key must be plain text, such as name: Menny")
        key = _text(event.value, _line(event))  # as written: `on` and `no` are keys like any other
        here = (*path, key)
        if key in mapping:
            raise PlainYamlError(_line(event), f"the key {key!r} stands here and on line {lines[here]}; remove one")
        lines[here] = _line(event)
        mapping[key] = _value(loader, loader.get_event(), here, lines)
    return mapping


def _scalar(loader: Loader, event: Any) -> Any:
    tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag.rpartition(":")[2] not in ("null", "bool", "int", "float"):
        return _text(event.value, _line(event))  # dates stay the text they were written as
    try:
        return loader.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
    except (ValueError, OverflowError):
        raise PlainYamlError(_line(event), f"{event.value[:40]!r} isn't a number that can be used") from None


def _text(value: str, line: int) -> str:
    """The text itself, unless an escape has put something into it that no tokenizer or database takes."""
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r\x85":
            raise PlainYamlError(line, f"the character U+{ord(character):04X} isn't allowed in text; remove it")
    return value


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _syntax(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    problem, mark = (error.problem or "it can't be read")[:100], error.problem_mark or error.context_mark
    if "'\\t'" in problem:
        problem = "a tab can't indent in YAML; use spaces"
    elif "mapping values are not allowed" in problem:
        problem = "a colon stands where none can; put quotes around text with a colon, and check the indentation"
    elif "unexpected end of stream" in problem:
        problem, mark = "the quote that opens here isn't closed", error.context_mark or mark
    else:
        problem = f"this isn't valid YAML ({problem}); check the quotes, brackets and indentation around it"
    return (mark.line + 1 if mark else 0), problem
