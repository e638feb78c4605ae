"""A user's own persona files: written whole or not at all, over nothing unseen, and with their comments kept.

Only what changed is written anew: a key's lines are put in the place of its old ones, and what stands between keys
stays to the letter. Comments within a value that changed are carried over by ruamel.yaml. What comes out is read back
by the strict reader before it takes its place.
"""

import io
import re
import unicodedata
from collections.abc import Container
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from menny.config.paths import CONFIGS
from menny.config.yaml_models import parse_yaml
from menny.config.yaml_reader import MAX_BYTES, PlainYamlError, is_plain, parse, read
from menny.errors import ConfigError, FileChangedError, StorageError
from menny.files import file_name, lock_folder, write_atomic
from menny.personas.persona import PersonaFile

SCHEMA = CONFIGS / "schemas" / "persona.json"
HEADER = "# yaml-language-server: $schema=../schemas/persona.json\n"
MAX_ID = 40

_LINE = re.compile(r"[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+$")


def new_id(name: str, taken: Container[str]) -> str:
    """A file's name, without the ending, for a persona's name: plain letters, digits and hyphens, and not taken."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_ID].strip("-") or "persona"
    tries = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
    return next(one for one in tries if one not in taken)


def find(folder: Path, persona_id: str) -> Path | None:
    """The file of a persona in a folder."""
    paths = (folder / f"{persona_id}{ending}" for ending in (".yaml", ".yml"))
    return next((path for path in paths if path.is_file()), None)


def text_of(path: Path) -> str:
    """What a file says, comments and all."""
    try:
        return read(path)
    except PlainYamlError as fault:
        raise ConfigError(f"{file_name(path)}: {fault.text}.") from None


def save(folder: Path, persona_id: str, persona: PersonaFile, base: str = "", expected: str | None = None) -> Path:
    """Write a persona's file, keeping the comments of the text `base`; tells where it lies.

    `expected` is what its file said when it was read, None where there was none. Raises FileChangedError where it says
    something else by now, ConfigError where a text can't stand in such a file, StorageError where nothing is written.
    """
    path = find(folder, persona_id) or folder / f"{persona_id}.yaml"
    text = render(persona, base)
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"{persona.name} takes more than {MAX_BYTES // 1024} KiB; shorten the texts.")
    put(path, text, expected)
    return path


def put(path: Path, text: str, expected: str | None = None) -> None:
    """Move a text into a file's place in one step, if the file still says what is expected (None: isn't there)."""
    try:
        _put_schema(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(path.parent):
            if (text_of(path) if path.is_file() else None) != expected:
                raise FileChangedError(f"{file_name(path)} was changed on disk since it was opened here.")
            write_atomic(path, text.encode())
    except OSError as error:
        raise StorageError(
            f"{file_name(path)} can't be written ({error.strerror}); make room or give Menny the right to write to "
            f"{path.parent}."
        ) from None


def remove(path: Path) -> str:
    """Delete a persona's file; tells what it said, so that it can be put back."""
    text = text_of(path)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"{file_name(path)} can't be deleted ({error.strerror}).") from None
    return text


def render(persona: PersonaFile, base: str = "") -> str:
    """The text of a persona's file: what `base` says where that is still true, and its comments."""
    persona = PersonaFile(**{name: getattr(persona, name) for name in PersonaFile.model_fields})
    if base and (spliced := _spliced(persona, base)) and _says(spliced, persona):
        return spliced
    fresh = HEADER + "".join(_lines(key, value) for key, value in _sparse(persona).items())
    if not _says(fresh, persona):
        raise ConfigError(f"{persona.name} has a text that can't be written to a file; remove its odd characters.")
    return fresh


def _says(text: str, persona: PersonaFile) -> bool:
    try:
        return parse_yaml(text, PersonaFile, "") == persona
    except ConfigError:
        return False


def _sparse(persona: PersonaFile) -> dict[str, Any]:
    """What differs from the defaults."""
    said: dict[str, Any] = persona.model_dump(mode="json", exclude_defaults=True)
    return said


def _spliced(persona: PersonaFile, base: str) -> str:
    """The base with the lines of changed keys replaced; empty where it isn't one key a line."""
    try:
        document, before = parse(base), parse_yaml(base, PersonaFile, "")
    except (PlainYamlError, ConfigError):
        return ""
    lines = _LINE.findall(base)
    starts = {str(path[0]): line - 1 for path, line in document.lines.items() if len(path) == 1}
    if len(set(starts.values())) < len(starts) or lines[min(starts.values())].lstrip().startswith("{"):
        return ""
    old, new, sparse = before.model_dump(mode="json"), persona.model_dump(mode="json"), _sparse(persona)
    blocks = _blocks(lines, starts)
    for key in starts:
        if old[key] != new[key]:
            blocks[key] = (
                _replaced(blocks[key][0], key, new[key], sparse[key]) if key in sparse else "",
                blocks[key][1],
            )
    order = list(PersonaFile.model_fields)
    for key in (key for key in sparse if key not in starts):
        earlier = [known for known in blocks if known in order[: order.index(key)]]
        blocks = _inserted(blocks, key, _lines(key, sparse[key]), after=earlier[-1] if earlier else "")
    return "".join(value + between for value, between in blocks.values())


def _blocks(lines: list[str], starts: dict[str, int]) -> dict[str, tuple[str, str]]:
    """Each key's lines, and the blank lines and comments after them; what comes before all keys stands under ''."""
    bounds = sorted(starts.items(), key=lambda item: item[1])
    blocks = {"": ("", "".join(lines[: bounds[0][1]]))}
    for (key, start), (_, after) in zip(bounds, [*bounds[1:], ("", len(lines))], strict=True):
        end = after
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1
        value = "".join(lines[start:end])
        blocks[key] = (value if value.endswith("\n") else value + "\n", "".join(lines[end:after]))
    return blocks


def _inserted(blocks: dict[str, tuple[str, str]], key: str, text: str, after: str) -> dict[str, tuple[str, str]]:
    """A new key's lines right behind another's; what stood between that one and the next comes after both."""
    grown: dict[str, tuple[str, str]] = {}
    for known, (value, between) in blocks.items():
        if known != after:
            grown[known] = (value, between)
        elif after == "":
            grown |= {known: (value, between), key: (text, "")}
        else:
            grown |= {known: (value, ""), key: (text, between)}
    return grown


def _replaced(block: str, key: str, new: Any, sparse: Any) -> str:
    """A key's lines with another value, and the comments that can stay."""
    document = _round_trip().load(block)
    document[key] = _paragraphs(new) if isinstance(new, str) else _merged(document[key], new, sparse)
    return _dump(document)


def _merged(old: Any, new: Any, sparse: Any) -> Any:
    """The old tree changed into the new one in its place, since comments hang on its nodes."""
    if isinstance(old, CommentedMap) and isinstance(new, dict):
        for key in list(old):
            if key in new:
                old[key] = _merged(old[key], new[key], sparse.get(key, new[key]))
            else:
                del old[key]
        for key in sparse:
            if key not in old:
                old[key] = _styled(sparse[key])
        return old
    if isinstance(old, CommentedSeq) and isinstance(new, list):
        del old[len(new) :]
        for index, value in enumerate(new):
            if index < len(old):
                old[index] = _merged(old[index], value, value)
            else:
                old.append(_styled(value))
        return old
    same = (
        old == new and isinstance(old, str) == isinstance(new, str) and isinstance(old, bool) == isinstance(new, bool)
    )
    return old if same else _styled(new)


def _lines(key: str, value: Any) -> str:
    """A key that is new, with its value."""
    return _dump(CommentedMap({key: _paragraphs(value) if isinstance(value, str) else _styled(value)}))


def _paragraphs(text: str) -> Any:
    """A persona's own text, whose end the strict reader trims: as a block it may end with a line's end."""
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
    if "\n" in value or len(value) > 100:
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


def _put_schema(folder: Path) -> None:
    """The schema that the files' first line names, so that editors check them here too."""
    target = folder.parent / "schemas" / SCHEMA.name
    if not target.is_file() or target.read_bytes() != SCHEMA.read_bytes():
        write_atomic(target, SCHEMA.read_bytes())
