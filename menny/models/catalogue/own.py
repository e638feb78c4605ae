"""The user's own entries of the catalogue: added and removed in their file, with its comments kept."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from menny.config.yaml_editor import edit_yaml, write_yaml
from menny.config.yaml_models import load_yaml, parse_yaml
from menny.config.yaml_reader import parse
from menny.errors import ConfigError
from menny.files import file_name, lock_folder, make_folder, read_file, write_atomic
from menny.models.catalogue.entries import CatalogueFile, ModelEntry

Entries = list[dict[str, Any]]


def add_entry(file: Path, /, **values: Any) -> ModelEntry:
    """Add a model, in the place of one with the same id. Raises ConfigError for values that no entry can have."""
    given = {key: value for key, value in values.items() if value not in (None, "")}
    try:
        entry = ModelEntry.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the entry"
        reason = first.get("ctx", {}).get("error", first["msg"])
        raise ConfigError(f"That can't be added: {where} {reason}.") from None
    _change(file, lambda models: [*(one for one in models if one.get("id") != entry.id), given])
    return entry


def remove_entry(file: Path, model_id: str) -> None:
    """Remove the entry of this id, where there is one. Raises ConfigError."""
    if os.path.lexists(file):
        _change(file, lambda models: [one for one in models if one.get("id") != model_id])


def own_ids(file: Path) -> set[str]:
    """The ids of the user's own entries; of a file that can't be used, none."""
    try:
        return {entry.id for entry in load_yaml(file, CatalogueFile).models}
    except ConfigError:
        return set()


def _change(file: Path, change: Callable[[Entries], Entries]) -> None:
    """Write the file with other entries: all or nothing, and nobody else changes it meanwhile.

    The file as it stands has to be one that Menny can use: nothing of a broken one is overwritten.
    """
    name = file_name(file)
    try:
        make_folder(file.parent)
        with lock_folder(file.parent):
            text, before = "", {"models": Entries()}
            if os.path.lexists(file):
                load_yaml(file, CatalogueFile)
                text = read_file(file).decode("utf-8-sig")
                before = parse(text).data
            changed = {"models": change(before["models"])}
            written = edit_yaml(text, changed, list(CatalogueFile.model_fields)) or write_yaml(before | changed)
            parse_yaml(written, CatalogueFile, name)  # what can't be read back isn't written
            write_atomic(file, written.encode())
    except OSError as error:
        raise ConfigError(f"{name} can't be written ({error.strerror}).") from None
