"""Files of lorebooks, one YAML file each. A large one is written as JSON, which is YAML too and is read much faster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from menny.config.json_reader import read_json_object
from menny.config.paths import home
from menny.config.yaml_editor import write_yaml
from menny.config.yaml_models import field_errors, from_data, load_folder, parse_yaml, yaml_files
from menny.config.yaml_reader import MAX_BYTES as MAX_YAML
from menny.config.yaml_reader import PlainYamlError, decoded, parse
from menny.errors import ConfigError
from menny.files import file_name, read_file, write_atomic, writing
from menny.lorebooks.convert import NO_LOREBOOK, lorebook_of
from menny.lorebooks.lorebook import Lorebook, LoreEntry

MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 3_000_000

HEADER = "# A lorebook: docs/lorebooks.md says what each key means.\n"


def own_folder() -> Path:
    """The folder of the user's lorebooks, which needn't be there."""
    return home() / "lorebooks"


def load_lorebooks(
    folder: Path | None = None, load: Callable[[Path], Lorebook] | None = None
) -> tuple[dict[str, Lorebook], list[ConfigError]]:
    """Load every lorebook of a folder, by its id, and the errors of the rest. One broken file is an error, no more."""
    folder = folder or own_folder()
    try:
        if not yaml_files(folder):
            return {}, []
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [ConfigError(f"{file_name(folder)}: the folder can't be read ({error.strerror}).")]
    loaded, errors = load_folder(folder, load or load_lorebook)
    return {path.stem: book for path, book in loaded.items()}, errors


def load_lorebook(path: Path) -> Lorebook:
    """Read one file. Raises ConfigError."""
    try:
        data = read_file(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file_name(path)}: the file can't be read ({error}).") from None
    return parse_lorebook(data, file_name(path))


def parse_lorebook(data: bytes, name: str) -> Lorebook:
    """Read the content of a file of that name. Raises ConfigError."""
    if not data.lstrip().startswith(b"{"):
        try:
            return parse_yaml(decoded(data), Lorebook, name)
        except PlainYamlError as error:
            raise ConfigError(f"{name}{f', line {error.line}' if error.line else ''}: {error.text}.") from None
    try:
        found = read_json_object(data, "the file", MAX_BYTES, MAX_VALUES)
        return from_data(found, Lorebook)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}.") from None
    except ValidationError as error:
        (place, message), *_ = field_errors(error, Lorebook)
        where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in place)
        raise ConfigError(f"{name}: {where}: {message}") from None


def import_lorebook(name: str, data: bytes) -> tuple[Lorebook, list[str]]:
    """Read a file of another program or of Menny, and a notice for all that was left out. Raises ConfigError.

    `name` is the file's name, after which a book without one is called.
    """
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        try:
            return parse_lorebook(data, Path(name).name), []
        except ConfigError:
            if _is_of_something_else(data):
                raise ConfigError(NO_LOREBOOK) from None
            raise
    inner: Any = read_json_object(data, "the file", MAX_BYTES, MAX_VALUES)
    if _is_own(inner):
        return parse_lorebook(data, Path(name).name), []
    for key in ("data", "character_book"):  # of a whole card, its book
        if isinstance(inner, dict) and "entries" not in inner and isinstance(inner.get(key), dict):
            inner = inner[key]
    return lorebook_of(inner, Path(name).stem)


def save_lorebook(path: Path, book: Lorebook) -> None:
    """Write a lorebook's file, all or nothing. Raises StorageError."""
    values = book.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(values, ensure_ascii=False, indent=1)
    if len(text.encode()) <= MAX_YAML // 2 and _reads_as(written := HEADER + write_yaml(values), book):
        text = written
    with writing(path):
        write_atomic(path, text.encode())


def _is_own(found: dict[str, Any]) -> bool:
    """True for a large file of Menny's own, which is JSON too: all of its keys and of its first entry's are ours."""
    entries = found.get("entries", [])
    if not isinstance(entries, list) or "name" not in found:
        return False
    first = entries[0] if entries and isinstance(entries[0], dict) else {}
    return set(found) <= set(Lorebook.model_fields) and set(first) <= set(LoreEntry.model_fields)


def _is_of_something_else(data: bytes) -> bool:
    """True for YAML without entries, as a persona's is."""
    try:
        return "entries" not in parse(decoded(data)).data
    except PlainYamlError:
        return False


def _reads_as(text: str, book: Lorebook) -> bool:
    """True if a text in YAML is read as this lorebook: what other programs keep in it may be beyond our YAML."""
    try:
        return parse_lorebook(text.encode(), "") == book
    except ConfigError:
        return False
