"""What a user has set for good: settings.yaml in MENNY_HOME, which needn't be there."""

import os
from pathlib import Path

from pydantic import Field

from menny.config.paths import home
from menny.config.yaml_models import StrictModel, load_yaml
from menny.errors import ConfigError, StorageError
from menny.files import file_name, write_atomic


class Settings(StrictModel):
    """What settings.yaml may say."""

    unload_after: int | None = Field(
        default=None, ge=1, le=604_800, description="Seconds without use after which the model is unloaded; else never."
    )


def settings_file() -> Path:
    """Where it lies."""
    return home() / "settings.yaml"


def load_settings() -> Settings:
    """What is set; raises ConfigError for a file that can't be used."""
    return load_yaml(settings_file(), Settings) if os.path.lexists(settings_file()) else Settings()


def keep_settings(settings: Settings) -> None:
    """Write what is set, all or nothing. Raises StorageError; and ConfigError for a file that somebody has broken."""
    load_settings()
    told = settings.model_dump(exclude_none=True)
    text = "".join(f"{name}: {value}\n" for name, value in told.items()) or "{}\n"
    file = settings_file()
    try:
        write_atomic(file, text.encode())
    except OSError as error:
        raise StorageError(
            f"{file_name(file)} can't be written ({error.strerror}): it holds until Menny ends."
        ) from None


def settings_problem() -> ConfigError | None:
    """Why the file can't be used, if it can't."""
    try:
        load_settings()
    except ConfigError as problem:
        return problem
    return None
