"""YAML of the plain kind: a tree of keys, lists, text and numbers, with the line on which each of them stands.

Config files come from other people too. A file is measured before it is read, its nesting is counted while it is
read, and anchors, aliases, tags, double keys and second documents are refused.
"""

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from menny.files import read_file

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_KEY = 100
MAX_NUMBER = 300  # characters of a number, in whichever base
FILE_ENDINGS = (".yaml", ".yml")  # in small letters or capitals

KeyPath = tuple[str | int, ...]
Loader = Any  # a yaml.SafeLoader, whose methods carry no types

_VALUE = re.compile(r"\s*(?:- +)*(?:[^\s:#'\"{\[]+: +|- +)(?P<value>\S.*)")
_INDICATORS = "{[*&!%@`|>\"'?-"  # what no plain text can begin with
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # halves of a character
_COMMENT_OR_TEXT = re.compile(  # a comment has a space after its #, and words; "Number #1" and "C #" haven't
    "[ \t]+#(?:[^\\s#!]|[ \t]*(?:[\n\r\x85\u2028\u2029]|\\Z))"
)


class PlainYamlError(Exception):
    """A file that isn't the YAML we read; the line is 0 where it concerns the whole file."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass
class PlainYaml:
    """A file's content, and the line of every key and item in it."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)


def read(path: Path) -> str:
    """Return a file's text; raises PlainYamlError where it isn't a small file of UTF-8."""
    try:
        raw = read_file(path, MAX_BYTES + 1)
    except FileNotFoundError:
        raise PlainYamlError(0, "there is no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PlainYamlError(
            0, reason if reason.startswith("it isn't") else f"the file can't be read ({reason})"
        ) from None
    return decoded(raw)


def decoded(raw: bytes) -> str:
    """Return the text in a file's bytes; raises PlainYamlError where it isn't a small file of UTF-8."""
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
    """Return the tree in a text; raises PlainYamlError where it is anything but one plain mapping."""
    document = PlainYaml()
    loader: Loader = None
    try:
        loader = yaml.SafeLoader(text)
        loader.get_event()  # the stream's start
        if not loader.check_event(yaml.StreamEndEvent):
            loader.get_event()  # the document's start
            document.data = _value(loader, loader.get_event(), (), document.lines)
            loader.get_event()  # the document's end
        if not loader.check_event(yaml.StreamEndEvent):
            raise PlainYamlError(_line(loader.peek_event()), "a second document starts here; keep one document a file")
    except yaml.reader.ReaderError as error:
        line = len(_lines(text[: error.position]))
        raise PlainYamlError(
            line, f"the character U+{ord(text[error.position]):04X} isn't allowed here; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise PlainYamlError(*_syntax(error, text)) from None
    except _KeyError as error:
        raise PlainYamlError(error.line, _about_braces(text, error.line) or error.text) from None
    except (ValueError, OverflowError):  # of an escape such as \U00110000, or of a directive's number
        raise PlainYamlError(loader.line + 1, "a number is too large for what it names; remove it") from None
    if document.data is None:
        raise PlainYamlError(0, "the file is empty")
    if not isinstance(document.data, dict):
        raise PlainYamlError(1, "the file must hold keys with values, such as name: Menny")
    return document


def texts_cut_by_comments(text: str) -> list[tuple[int, str]]:
    """Return the line and what is left out for each text such as `Number #1`, of which YAML reads only `Number`.

    A text that can't be read has none.
    """
    if not _COMMENT_OR_TEXT.search(text):
        return []
    found: list[tuple[int, str]] = []
    try:
        for token in yaml.scan(text, yaml.SafeLoader):
            if isinstance(token, yaml.ScalarToken) and token.plain and is_plain(token.value):
                rest = _LINE_END.split(text[token.end_mark.index :], 1)[0]
                if _COMMENT_OR_TEXT.match(rest):
                    found.append((token.end_mark.line + 1, rest.strip()))
    except (yaml.YAMLError, ValueError, OverflowError):
        return []
    return found


def is_plain(text: str) -> bool:
    """Return true where a text without quotes is read as text, and not as a number, yes or no, or nothing."""
    loader: Loader = yaml.SafeLoader("")
    return bool(loader.resolve(yaml.ScalarNode, text, (True, False)).endswith(":str"))


class _KeyError(PlainYamlError):
    """A key that is a list or a mapping, or too long."""


def _value(loader: Loader, event: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """Return the value that starts with this event; the line of every key and item is noted on the way."""
    line = _line(event)
    if isinstance(event, yaml.AliasEvent):
        raise PlainYamlError(
            line,
            f"the alias *{str(event.anchor)[:40]} isn't allowed; write the value out, and put quotes around text that "
            "begins with *",
        )
    if event.anchor is not None:
        raise PlainYamlError(
            line,
            f"the anchor &{event.anchor[:40]} isn't allowed; write the value out where it is needed, and put quotes "
            "around text that begins with &",
        )
    if event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:40]
        raise PlainYamlError(
            line, f"the tag {tag} isn't allowed; remove it, and put quotes around text that begins with !"
        )
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
            raise _KeyError(_line(event), "a key must be plain text, such as name: Menny")
        key = _text(event.value, _line(event))  # as written: `on` and `no` are keys like any other
        here = (*path, key)
        if key in mapping:
            raise PlainYamlError(_line(event), f"the key {key!r} stands here and on line {lines[here]}; remove one")
        lines[here] = _line(event)
        mapping[key] = _value(loader, loader.get_event(), here, lines)
    return mapping


def _scalar(loader: Loader, event: Any) -> Any:
    tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    kind = tag.rpartition(":")[2]
    if kind not in ("null", "bool", "int", "float"):
        return _text(event.value, _line(event))  # dates stay the text they were written as
    unusable = PlainYamlError(_line(event), f"{event.value[:40]!r} isn't a number that can be used")
    if len(event.value) > MAX_NUMBER:
        raise unusable
    try:
        value = loader.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
    except (ValueError, OverflowError):
        raise unusable from None
    if kind == "int" and abs(value) > sys.float_info.max:
        raise unusable
    return value


def _text(value: str, line: int) -> str:
    """Return the text, unless an escape has put something into it that no tokenizer or database takes.

    Two escapes that make one character, as JSON writes an emoji, are joined.
    """
    if max(value, default="") >= "\ud800" and _PAIR.search(value):
        value = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), value)
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r\x85":
            raise PlainYamlError(line, f"the character U+{ord(character):04X} isn't allowed in text; remove it")
    return value


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _syntax(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """Return the line of a syntax error, and what to do about it."""
    reason, mark = (error.problem or "it can't be read")[:100], error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    if "'\\t'" in reason:
        return line, _about_tab(text, mark)
    if "mapping values are not allowed" in reason:
        return line, "a colon stands where none can; put quotes around text with a colon, and check the indentation"
    if "unexpected end of stream" in reason:
        opened = error.context_mark or mark
        return (opened.line + 1 if opened else 0), "the quote that opens here isn't closed"
    advice = f"this isn't valid YAML ({reason}); check the quotes, brackets and indentation around it"
    return line, _begins_with(text, line, _INDICATORS) or advice


def _about_tab(text: str, mark: Any) -> str:
    before = text[: mark.index].rpartition("\n")[2] if mark else ""
    if not before.strip():
        return "a tab can't indent in YAML; use spaces"
    place = {":": "after the colon", "-": "after the dash"}.get(before.rstrip()[-1], "here")
    return f"a tab stands {place}, which YAML doesn't allow; use a space"


def _about_braces(text: str, line: int) -> str:
    """Return what to do about `{{user}}` without quotes, which YAML takes for a mapping within a mapping."""
    advice = "text with {{ and }} needs quotes around all of it" if "{{" in _lines(text)[line - 1] else ""
    return _begins_with(text, line, "{") or advice


def _lines(text: str) -> list[str]:
    """Return a text's lines, which YAML ends by more than a line feed."""
    return _LINE_END.split(text)


def _begins_with(text: str, line: int, indicators: str) -> str:
    """Return what to do about the value on a line that begins as no plain text can; empty where it doesn't."""
    match = _VALUE.match(_lines(text)[line - 1]) if line else None
    if match is None or match["value"][0] not in indicators:
        return ""
    value = match["value"].rstrip()
    if value.startswith("[") and value.endswith("]"):  # a list, with a text in it that is taken for more
        return "in a list between [ and ], put quotes around each text that has one of : ? { } [ ] # in it"
    shown = value if len(value) <= 40 else value[:39] + "…"
    quote = "'" if '"' in shown else '"'
    return f"text that begins with {value[0]} needs quotes around all of it: {quote}{shown}{quote}"
