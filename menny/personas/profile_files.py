"""The user's profiles in an archive of everything, and their way back out of one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from menny.config.paths import home
from menny.errors import MennyError
from menny.files import read_file
from menny.personas.avatars import keep_avatar
from menny.personas.files import find, read_archived, remove, save, text_of
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
    found = [read_archived(name, files, ProfileFile) for name in files if name.startswith(f"{FOLDER}/")]
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
