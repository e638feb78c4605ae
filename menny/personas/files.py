"""A user's own files of personas and profiles: written whole or not at all, and with their comments kept.

What comes out of the editor is read back by the strict reader before it takes its place.
"""

import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, TypeVar

from menny.config.paths import CONFIGS
from menny.config.yaml_editor import edit_yaml, write_yaml
from menny.config.yaml_models import parse_yaml, yaml_files
from menny.config.yaml_reader import MAX_BYTES, PlainYamlError, parse, read
from menny.errors import ConfigError, FileChangedError, StorageError
from menny.files import file_id, file_name, read_file, write_atomic, writing
from menny.personas.avatars import as_avatar
from menny.personas.persona import PersonaFile
from menny.personas.profiles import ProfileFile

Kept = PersonaFile | ProfileFile
KeptT = TypeVar("KeptT", PersonaFile, ProfileFile)
Kind = type[PersonaFile] | type[ProfileFile]

SCHEMAS: Mapping[Kind, str] = {PersonaFile: "persona.json", ProfileFile: "profile.json"}


def new_id(name: str, taken: Container[str]) -> str:
    """A file's name, without the ending, for a name: plain letters, digits and hyphens, and not taken."""
    return file_id(name, taken, "persona")


def find(folder: Path, file_id: str) -> Path | None:
    """The file of that id in a folder; None where there isn't one."""
    try:
        return next((path for path in yaml_files(folder) if path.stem == file_id and path.is_file()), None)
    except OSError:
        return None


def text_of(path: Path) -> str:
    """A file's text, comments and all. Raises ConfigError."""
    try:
        return read(path)
    except PlainYamlError as error:
        raise ConfigError(f"{file_name(path)}: {error.text}.") from None


def save(folder: Path, file_id: str, value: Kept, base: str = "", expected: str | None = None) -> Path:
    """Write the file of a persona or profile, keeping the comments of the text `base`; returns its path.

    `expected` is the file's text when it was read, None where there was no file. Raises FileChangedError where it has
    changed since, ConfigError where a text can't stand in such a file, StorageError where nothing is written.
    """
    path = find(folder, file_id) or folder / f"{file_id}.yaml"
    text = render(value, base)
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"{value.name} takes more than {MAX_BYTES // 1024} KiB; shorten the texts.")
    put(path, text, expected)
    return path


def put(path: Path, text: str, expected: str | None = None) -> None:
    """Move a text into a file's place in one step, if the file still has the expected text (None: isn't there)."""
    with writing(path):
        _put_schemas(path.parent)
        if (text_of(path) if path.is_file() else None) != expected:
            raise FileChangedError(f"{file_name(path)} was changed on disk since it was opened here.")
        write_atomic(path, text.encode())


def remove(path: Path) -> str:
    """Delete a file; returns its text, so that it can be put back. Raises StorageError."""
    text = text_of(path)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"{file_name(path)} can't be deleted ({error.strerror}).") from None
    return text


def read_archived(name: str, files: Mapping[str, bytes], kind: type[KeptT]) -> tuple[str, KeptT, str, bytes | None]:
    """A persona or profile of an archive, checked: its id, its values, its file's text, and its picture as an avatar.

    `files` are those of the archive by their names. Raises ConfigError where this one can't be used.
    """
    what = SCHEMAS[kind].removesuffix(".json")
    is_name, data = re.fullmatch(rf"{what}s/(\w[\w .-]{{0,79}})\.yaml", name), files[name]
    try:
        if not is_name or len(data) > MAX_BYTES:
            raise ValueError
        text = data.decode()
        value = parse_yaml(text, kind, name)
        picture = files.get(value.avatar or "")
        return is_name[1], value, text, as_avatar(picture) if picture else None
    except ValueError:
        raise ConfigError(f"{name} in the archive isn't the file of a {what}. Nothing was imported.") from None
    except ConfigError as error:
        raise ConfigError(f"{error} Nothing was imported.") from None


def render(value: Kept, base: str = "") -> str:
    """The text of the file of a persona or profile: what `base` says where that is still true, and its comments."""
    kind = kind_of(value)
    plain = kind(**{name: getattr(value, name) for name in kind.model_fields})
    if base and (edited := _edited(plain, kind, base)) and _reads_as(edited, plain, kind):
        return edited
    fresh = f"# yaml-language-server: $schema=../schemas/{SCHEMAS[kind]}\n{write_yaml(_sparse(plain))}"
    if not _reads_as(fresh, plain, kind):
        raise ConfigError(f"{value.name} has a text that can't be written to a file; remove its odd characters.")
    return fresh


def kind_of(value: Kept) -> Kind:
    """The model of the file that a persona or profile is kept in."""
    return PersonaFile if isinstance(value, PersonaFile) else ProfileFile


def _reads_as(text: str, value: Kept, kind: Kind) -> bool:
    try:
        return parse_yaml(text, kind, "") == value
    except ConfigError:
        return False


def _sparse(value: Kept) -> dict[str, Any]:
    """The values that differ from the defaults."""
    values: dict[str, Any] = value.model_dump(mode="json", exclude_defaults=True)
    return values


def _edited(value: Kept, kind: Kind, base: str) -> str | None:
    """The base with the lines of changed keys replaced; None where it can't be edited key by key."""
    try:
        written, before = parse(base).data, parse_yaml(base, kind, "")
    except (PlainYamlError, ConfigError):
        return None
    old, new, sparse = before.model_dump(mode="json"), value.model_dump(mode="json"), _sparse(value)
    changes = {
        key: _with_written_defaults(sparse[key], new[key], written.get(key)) if key in sparse else None
        for key in kind.model_fields
        if old[key] != new[key] or (key in sparse and key not in written)
    }
    return edit_yaml(base, changes, list(kind.model_fields))


def _with_written_defaults(sparse: Any, full: Any, written: Any) -> Any:
    """The values that differ from the defaults, and those defaults that the file spells out."""
    if not (isinstance(sparse, dict) and isinstance(written, dict)):
        return sparse
    return {key: value for key, value in full.items() if key in sparse or key in written}


def _put_schemas(folder: Path) -> None:
    """The schemas that the files' first lines name, so that editors check them here too."""
    for name in SCHEMAS.values():
        target = folder.parent / "schemas" / name
        schema = (CONFIGS / "schemas" / name).read_bytes()
        if not target.is_file() or read_file(target) != schema:
            write_atomic(target, schema)
