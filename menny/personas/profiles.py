"""Profiles of the user: who the personas talk to, read from one YAML file each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from menny.config.paths import home
from menny.config.yaml_models import Line, StrictModel, Text, load_folder, load_yaml, yaml_files
from menny.errors import ConfigError
from menny.files import file_name
from menny.personas.macros import Draws, expand
from menny.personas.persona import picture_path, within_images
from menny.text import is_blank

MAX_DESCRIPTION = 8000  # characters
NOBODY = "-"  # the choice of a chat in which the user has no name


class ProfileFile(StrictModel):
    """A profile's YAML file: one of the ways in which the user can be known to a persona."""

    name: Line = Field(min_length=1, max_length=60, description="What {{user}} stands for.")
    description: Text = Field(
        default="", max_length=MAX_DESCRIPTION, description="What the model is told about the user, after the persona."
    )
    avatar: str | None = Field(
        default=None,
        max_length=200,
        description="A picture within images/, of Menny's own folder or the project's.",
        json_schema_extra={"pattern": r"^images/.+\.(png|jpe?g|webp)$"},
    )
    personas: tuple[Annotated[Line, Field(min_length=1, max_length=80)], ...] = Field(
        default=(), max_length=200, description="The ids of the personas that this profile is used with."
    )

    @field_validator("name")
    @classmethod
    def _visible(cls, name: str) -> str:
        if is_blank(name):
            raise ValueError("must have a character that can be seen")
        return name

    @field_validator("avatar")
    @classmethod
    def _within_images(cls, avatar: str | None) -> str | None:
        return within_images(avatar)


class Profile(ProfileFile):
    """A profile that can be chosen; `id` is its file's name without the ending."""

    id: str

    def avatar_path(self, root: Path | None = None) -> Path | None:
        """The picture's file; None where there isn't one."""
        return picture_path(self.avatar, root)

    def described(self, char: str, draws: Draws | None = None) -> str:
        """What a model is told about the user: the name, and the description, its macros expanded."""
        about = expand(self.description, {"user": self.name, "char": char}, draws, "profile")
        return f"The user's name is {self.name}.{' ' if about else ''}{about}"


def profiles_folder() -> Path:
    """The folder of the user's profiles, which needn't be there."""
    return home() / "profiles"


def load_profiles(folder: Path | None = None) -> tuple[list[Profile], list[ConfigError]]:
    """Every profile of a folder by name, and the errors of the rest: one broken file is an error and no profile."""
    folder = folder or profiles_folder()
    try:
        if not yaml_files(folder):
            return [], []
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        unreadable = ConfigError(f"{file_name(folder)}: the folder can't be read ({error.strerror}).")
        return [], [] if is_missing else [unreadable]
    loaded, errors = load_folder(folder, _load)
    for path, profile in loaded.items():
        if profile.avatar and profile.avatar_path() is None:
            errors.append(ConfigError(f"{file_name(path)}: there is no picture {profile.avatar}; add it."))
    return sorted(loaded.values(), key=lambda profile: (profile.name.casefold(), profile.id)), errors


def nearest(profiles: Sequence[Profile], persona_id: str, chat_choice: str = "", default: str = "") -> Profile | None:
    """The profile in force: the chat's, else the persona's, else the default one, if there is any of these.

    A chat that chose NOBODY has none.
    """
    if chat_choice == NOBODY:
        return None
    by_id = {profile.id: profile for profile in profiles}
    of_persona = next((profile for profile in profiles if persona_id in profile.personas), None)
    return by_id.get(chat_choice) or of_persona or by_id.get(default)


def _load(path: Path) -> Profile:
    found = load_yaml(path, ProfileFile)
    return Profile(id=path.stem, **{name: getattr(found, name) for name in ProfileFile.model_fields})
