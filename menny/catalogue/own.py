"""The user's own entries of the catalogue: added and removed in their file, with its comments kept."""

import os
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from menny.catalogue.entries import CatalogueFile, ModelEntry
from menny.config import file_name, load_yaml, write_whole
from menny.errors import ConfigError


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
    document = _read(file)
    others = [one for one in document["models"] if one.get("id") != entry.id]
    document["models"][:] = [*others, told]
    _write(file, document)
    return entry


def remove_entry(file: Path, model_id: str) -> None:
    """Remove the entry of this id, where there is one."""
    if not os.path.lexists(file):
        return
    document = _read(file)
    document["models"][:] = [one for one in document["models"] if one.get("id") != model_id]
    _write(file, document)


def own_ids(file: Path) -> set[str]:
    """The ids of the user's own entries; of a file that can't be used, none."""
    try:
        return {entry.id for entry in load_yaml(file, CatalogueFile).models}
    except ConfigError:
        return set()


def _read(file: Path) -> Any:
    """The file as it stands, which has to be one that Menny can use: nothing of a broken one is overwritten."""
    if not os.path.lexists(file):
        return {"models": []}
    load_yaml(file, CatalogueFile)
    try:
        return YAML().load(file.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{file_name(file)} can't be read ({type(error).__name__}).") from None


def _write(file: Path, document: Any) -> None:
    """All or nothing, so that a full disk leaves the file as it was."""
    text = StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(document, text)
    try:
        write_whole(file, text.getvalue().encode())
    except OSError as error:
        raise ConfigError(f"{file_name(file)} can't be written ({error.strerror}).") from None
