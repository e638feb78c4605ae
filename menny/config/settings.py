"""The user's settings: settings.yaml in MENNY_HOME, which needn't be there."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from menny.config.paths import home
from menny.config.yaml_editor import edit_yaml, write_yaml
from menny.config.yaml_models import StrictModel, from_data, load_yaml, parse_yaml
from menny.config.yaml_reader import PlainYamlError, parse, read
from menny.errors import ConfigError, StorageError
from menny.files import file_name, lock_folder, make_folder, write_atomic

# An unquoted `off` is read as false.
Action = Annotated[Literal["off", "warn", "block"], BeforeValidator(lambda given: "off" if given is False else given)]


class ModerationSettings(StrictModel):
    """What happens to a text, by the id of its category; one that isn't named does as configs/moderation.yaml says."""

    messages: dict[str, Action] = Field(default={}, description="The actions for your messages, by category.")
    replies: dict[str, Action] = Field(default={}, description="The actions for replies, by category.")
    judge: str | None = Field(
        default=None, max_length=4096, description="The id of the model that judges; else the one that answers does."
    )


class Settings(StrictModel):
    """The keys of settings.yaml."""

    model: str | None = Field(
        default=None, max_length=4096, description="The id of the model that new chats begin with."
    )
    persona: str | None = Field(
        default=None, max_length=200, description="The id of the persona that new chats begin with."
    )
    profile: str | None = Field(
        default=None, max_length=80, description="The id of the profile by which personas know you; empty for none."
    )
    titles: bool = Field(default=True, description="Whether the model writes the titles of chats.")
    remembering: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[],
        max_length=1000,
        description="The ids of the personas that remember what you tell them across chats; else none does.",
    )
    guardrail: str | None = Field(
        default=None, max_length=200, description="The id of the guardrail before every persona; `none` for none."
    )
    moderation: ModerationSettings = Field(default=ModerationSettings(), description="Which texts are held back.")
    theme: Literal["system", "light", "dark"] | None = Field(default=None, description="The colors of the page.")
    delete_chats_after: int | None = Field(
        default=None, ge=1, le=36_500, description="Days without a message after which a chat is deleted; else never."
    )
    unload_after: int | None = Field(
        default=None, ge=1, le=604_800, description="Seconds without use after which the model is unloaded; else never."
    )
    model_hint: bool = Field(
        default=True, description="Whether the start page names a model for this machine while none was downloaded."
    )
    thought_tokens: int = Field(
        default=4096, ge=16, le=131_072, description="How long a model may think before it has to answer, in tokens."
    )
    cache_gigabytes: float = Field(
        default=4,
        ge=0,
        le=10_000,
        description="How much of the disk the caches of chats may take, with which they go on at once after a restart.",
    )
    parallel: int | None = Field(
        default=None, ge=1, le=256, description="Replies that a model on this machine writes at once; else 8."
    )


def settings_file() -> Path:
    """The file's path."""
    return home() / "settings.yaml"


def load_settings() -> Settings:
    """Read the settings; raises ConfigError for a file that can't be used."""
    return load_yaml(settings_file(), Settings) if os.path.lexists(settings_file()) else Settings()


def usable_settings() -> Settings | None:
    """Read those keys of a broken file that can be used; None where it can't be read at all."""
    try:
        data = parse(read(settings_file())).data
    except PlainYamlError:
        return None
    if not isinstance(data, dict):
        return None
    try:
        return from_data(data, Settings)
    except ValidationError as error:
        wrong = {place["loc"][0] for place in error.errors() if place["loc"]}
        return from_data({key: value for key, value in data.items() if key not in wrong}, Settings)
    except ValueError:  # a number that isn't finite
        return None


def change_settings(**changes: Any) -> None:
    """Set keys of the file, None removing one; within a mapping likewise. All others, and the comments, stay.

    Raises ConfigError where the file that is there is broken, and StorageError where it can't be written.
    """
    file = settings_file()
    try:
        make_folder(file.parent)
        with lock_folder(file.parent):
            write_atomic(file, _changed(file, changes).encode())
    except OSError as error:
        raise StorageError(
            f"{file_name(file)} can't be written ({error.strerror}): the setting holds until Menny is closed."
        ) from None


def _changed(file: Path, changes: Mapping[str, Any]) -> str:
    """Return the file's text with the changes. Raises ConfigError."""
    now = load_settings().model_dump(mode="json", exclude_unset=True)
    after = merged(now, changes)
    text = read(file) if os.path.lexists(file) else ""
    edited = edit_yaml(text, {key: after.get(key) for key in changes}, list(Settings.model_fields))
    edited = write_yaml(after) if edited is None else edited
    edited += "" if after else "{}\n"  # a file without a key isn't YAML of ours
    parse_yaml(edited, Settings, file_name(file))
    return edited


def merged(now: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with changes in it, also in the mappings within; None removes a key."""
    after = {key: value for key, value in now.items() if key not in changes}
    for key, value in changes.items():
        before = now.get(key)
        if isinstance(value, Mapping):
            value = merged(before if isinstance(before, Mapping) else {}, value) or None
        if value is not None:
            after[key] = value
    return after


def settings_error() -> ConfigError | None:
    """The error in settings.yaml; None where it can be used."""
    try:
        load_settings()
    except ConfigError as error:
        return error
    return None
