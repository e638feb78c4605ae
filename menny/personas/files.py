"""A user's own persona files: written whole or not at all, over nothing unseen, and with their comments kept.

What comes out of the editor is read back by the strict reader before it takes its place.
"""

import re
import unicodedata
from collections.abc import Container
from pathlib import Path
from typing import Any

from menny.config.paths import CONFIGS
from menny.config.yaml_editor import edit_yaml, write_yaml
from menny.config.yaml_models import parse_yaml, yaml_files
from menny.config.yaml_reader import MAX_BYTES, PlainYamlError, parse, read
from menny.errors import ConfigError, FileChangedError, StorageError
from menny.files import file_name, lock_folder, make_folder, read_file, shown_path, write_atomic
from menny.personas.persona import PersonaFile

SCHEMA = CONFIGS / "schemas" / "persona.json"
HEADER = "# yaml-language-server: $schema=../schemas/persona.json\n"
MAX_ID = 40


def new_id(name: str, taken: Container[str]) -> str:
    """A file's name, without the ending, for a persona's name: plain letters, digits and hyphens, and not taken."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_ID].strip("-") or "persona"
    tries = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
    return next(one for one in tries if one not in taken)


def find(folder: Path, persona_id: str) -> Path | None:
    """The file of a persona in a folder; None where there is none."""
    try:
        return next((path for path in yaml_files(folder) if path.stem == persona_id and path.is_file()), None)
    except OSError:
        return None


def text_of(path: Path) -> str:
    """A file's text, comments and all. Raises ConfigError."""
    try:
        return read(path)
    except PlainYamlError as error:
        raise ConfigError(f"{file_name(path)}: {error.text}.") from None


def save(folder: Path, persona_id: str, persona: PersonaFile, base: str = "", expected: str | None = None) -> Path:
    """Write a persona's file, keeping the comments of the text `base`; returns its path.

    `expected` is the file's text when it was read, None where there was no file. Raises FileChangedError where it has
    changed since, ConfigError where a text can't stand in such a file, StorageError where nothing is written.
    """
    path = find(folder, persona_id) or folder / f"{persona_id}.yaml"
    text = render(persona, base)
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"{persona.name} takes more than {MAX_BYTES // 1024} KiB; shorten the texts.")
    put(path, text, expected)
    return path


def put(path: Path, text: str, expected: str | None = None) -> None:
    """Move a text into a file's place in one step, if the file still has the expected text (None: isn't there)."""
    try:
        _put_schema(path.parent)
        make_folder(path.parent)
        with lock_folder(path.parent):
            if (text_of(path) if path.is_file() else None) != expected:
                raise FileChangedError(f"{file_name(path)} was changed on disk since it was opened here.")
            write_atomic(path, text.encode())
    except OSError as error:
        raise StorageError(
            f"{file_name(path)} can't be written ({error.strerror}); make room or give Menny the right to write to "
            f"{shown_path(path.parent)}."
        ) from None


def remove(path: Path) -> str:
    """Delete a persona's file; returns its text, so that it can be put back. Raises StorageError."""
    text = text_of(path)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"{file_name(path)} can't be deleted ({error.strerror}).") from None
    return text


def render(persona: PersonaFile, base: str = "") -> str:
    """The text of a persona's file: what `base` says where that is still true, and its comments."""
    persona = PersonaFile(**{name: getattr(persona, name) for name in PersonaFile.model_fields})
    if base and (edited := _edited(persona, base)) and _reads_as(edited, persona):
        return edited
    fresh = HEADER + write_yaml(_sparse(persona))
    if not _reads_as(fresh, persona):
        raise ConfigError(f"{persona.name} has a text that can't be written to a file; remove its odd characters.")
    return fresh


def _reads_as(text: str, persona: PersonaFile) -> bool:
    try:
        return parse_yaml(text, PersonaFile, "") == persona
    except ConfigError:
        return False


def _sparse(persona: PersonaFile) -> dict[str, Any]:
    """What differs from the defaults."""
    values: dict[str, Any] = persona.model_dump(mode="json", exclude_defaults=True)
    return values


def _edited(persona: PersonaFile, base: str) -> str | None:
    """The base with the lines of changed keys replaced; None where it can't be edited key by key."""
    try:
        written, before = parse(base).data, parse_yaml(base, PersonaFile, "")
    except (PlainYamlError, ConfigError):
        return None
    old, new, sparse = before.model_dump(mode="json"), persona.model_dump(mode="json"), _sparse(persona)
    changes = {
        key: _with_written_defaults(sparse[key], new[key], written.get(key)) if key in sparse else None
        for key in PersonaFile.model_fields
        if old[key] != new[key] or (key in sparse and key not in written)
    }
    return edit_yaml(base, changes, list(PersonaFile.model_fields))


def _with_written_defaults(sparse: Any, full: Any, written: Any) -> Any:
    """What differs from the defaults, and those defaults that the file spells out."""
    if not (isinstance(sparse, dict) and isinstance(written, dict)):
        return sparse
    return {key: value for key, value in full.items() if key in sparse or key in written}


def _put_schema(folder: Path) -> None:
    """The schema that the files' first line names, so that editors check them here too."""
    target = folder.parent / "schemas" / SCHEMA.name
    schema = SCHEMA.read_bytes()
    if not target.is_file() or read_file(target) != schema:
        write_atomic(target, schema)
