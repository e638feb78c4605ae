"""The user's own entries of the catalogue: added and removed in their file, with its comments kept."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from menny.config.yaml_models import load_yaml, parse_yaml
from menny.config.yaml_reader import is_plain
from menny.errors import ConfigError
from menny.files import file_name, lock_folder, write_atomic
from menny.models.catalogue.entries import CatalogueFile, ModelEntry


def add_entry(file: Path, **values: Any) -> ModelEntry:
    """Add a model, in the place of one with the same id. Raises ConfigError for values that no entry can have."""
    told = {key: value for key, value in values.items() if value not in (None, "")}
    try:
        entry = ModelEntry.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the entry"
        reason = first.get("ctx", {}).get("error", first["msg"])
        raise ConfigError(f"That can't be added: {where} {reason}.") from None
    for key, value in told.items():
        if isinstance(value, str) and not is_plain(value):
            told[key] = DoubleQuotedScalarString(value)
    with _changing(file) as models:
        models[:] = [*(one for one in models if one.get("id") != entry.id), told]
    return entry


def remove_entry(file: Path, model_id: str) -> None:
    """Remove the entry of this id, where there is one."""
    if not os.path.lexists(file):
        return
    with _changing(file) as models:
        models[:] = [one for one in models if one.get("id") != model_id]


def own_ids(file: Path) -> set[str]:
    """The ids of the user's own entries; of a file that can't be used, none."""
    try:
        return {entry.id for entry in load_yaml(file, CatalogueFile).models}
    except ConfigError:
        return set()


@contextmanager
def _changing(file: Path) -> Iterator[Any]:
    """The file's entries, which are written when the block ends: all or nothing, and nobody else changes them then."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(file.parent):
            document = _read(file)
            yield document["models"]
            text = _written(document)
            parse_yaml(text, CatalogueFile, file_name(file))  # what can't be read back isn't written
            write_atomic(file, text.encode())
    except OSError as error:
        raise ConfigError(f"{file_name(file)} can't be written ({error.strerror}).") from None


def _read(file: Path) -> Any:
    """The file as it stands, which has to be one that Menny can use: nothing of a broken one is overwritten."""
    if not os.path.lexists(file):
        return {"models": []}
    load_yaml(file, CatalogueFile)
    try:
        return _round_trip().load(file.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{file_name(file)} can't be read ({type(error).__name__}).") from None


def _written(document: Any) -> str:
    text = StringIO()
    _round_trip().dump(document, text)
    return text.getvalue()


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml
