"""The user's settings: settings.yaml in MENNY_HOME, which needn't be there."""

import os
from pathlib import Path

from pydantic import Field

from menny.config.paths import home
from menny.config.yaml_models import StrictModel, load_yaml
from menny.errors import ConfigError, StorageError
from menny.files import file_name, write_atomic


class Settings(StrictModel):
    """The keys of settings.yaml."""

    unload_after: int | None = Field(
        default=None, ge=1, le=604_800, description="Seconds without use after which the model is unloaded; else never."
    )
    thought_tokens: int = Field(
        default=4096, ge=16, le=131_072, description="How long a model may think before it has to answer, in tokens."
    )


def settings_file() -> Path:
    """The file's path."""
    return home() / "settings.yaml"


def load_settings() -> Settings:
    """Read the settings; raises ConfigError for a file that can't be used."""
    return load_yaml(settings_file(), Settings) if os.path.lexists(settings_file()) else Settings()


def keep_settings(settings: Settings) -> None:
    """Write the settings, all or nothing. Raises StorageError; ConfigError where the file that is there is broken."""
    load_settings()
    values = settings.model_dump(exclude_defaults=True)
    text = "".join(f"{name}: {value}\n" for name, value in values.items()) or "{}\n"
    file = settings_file()
    try:
        write_atomic(file, text.encode())
    except OSError as error:
        raise StorageError(
            f"{file_name(file)} can't be written ({error.strerror}): the setting holds until Menny is closed."
        ) from None


def settings_error() -> ConfigError | None:
    """The error in settings.yaml; None where it can be used."""
    try:
        load_settings()
    except ConfigError as error:
        return error
    return None
