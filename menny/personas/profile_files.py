"""The user's profiles in an archive of everything, and their way back out of one."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from menny.config.paths import home
from menny.config.yaml_models import parse_yaml
from menny.config.yaml_reader import MAX_BYTES
from menny.errors import ConfigError, MennyError
from menny.files import read_file
from menny.personas.avatars import as_avatar, keep_avatar
from menny.personas.files import find, remove, save, text_of
from menny.personas.profiles import ProfileFile, load_profiles, profiles_folder

FOLDER = "profiles"  # in an archive


def profiles_to_archive() -> dict[str, bytes]:
    """Return the files of the profiles, and their pictures, by their names in an archive."""
    files: dict[str, bytes] = {}
    for profile in load_profiles()[0]:
        if path := find(profiles_folder(), profile.id):
            files[f"{FOLDER}/{profile.id}.yaml"] = text_of(path).encode()
        if profile.avatar and (picture := profile.avatar_path(home())):
            files[profile.avatar] = read_file(picture)
    return files


@contextmanager
def profiles_from_archive(files: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Put back the profiles that aren't here; yields their ids.

    None is kept where one is broken or the block fails.
    """
    found = [_from_archive(name, files) for name in files if name.startswith(f"{FOLDER}/")]
    kept: list[str] = []
    try:
        for profile_id, profile, text, picture in found:
            if find(profiles_folder(), profile_id) is None:
                if picture is not None:
                    profile = profile.model_copy(update={"avatar": keep_avatar(home() / "images", picture)})
                save(profiles_folder(), profile_id, profile, base=text)
                kept.append(profile_id)
        yield kept
    except MennyError:
        for profile_id in kept:
            if path := find(profiles_folder(), profile_id):
                remove(path)
        raise


def _from_archive(name: str, files: Mapping[str, bytes]) -> tuple[str, ProfileFile, str, bytes | None]:
    """A profile of an archive, checked: its id, its values, its file's text, and its picture as an avatar."""
    is_name, data = re.fullmatch(rf"{FOLDER}/(\w[\w .-]{{0,79}})\.yaml", name), files[name]
    try:
        if not is_name or len(data) > MAX_BYTES:
            raise ValueError
        text = data.decode()
        profile = parse_yaml(text, ProfileFile, name)
        picture = files.get(profile.avatar or "")
        return is_name[1], profile, text, as_avatar(picture) if picture else None
    except ValueError:
        raise ConfigError(f"{name} in the archive isn't the file of a profile. Nothing was imported.") from None
    except ConfigError as error:
        raise ConfigError(f"{error} Nothing was imported.") from None
