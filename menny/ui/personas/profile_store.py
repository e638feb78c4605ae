"""The files of the user's profiles, as the page writes them."""

from collections.abc import Callable

from menny.config.paths import home
from menny.errors import ConfigError
from menny.personas.avatars import keep_avatar
from menny.personas.files import find, new_id, put, remove, save, text_of
from menny.personas.profiles import ProfileFile, profiles_folder


def keep_profile(profile: ProfileFile, profile_id: str = "", picture: bytes | None = None) -> str:
    """Write a profile, a new one where there is no id, with its new picture if there is one; return its id."""
    if picture is not None:
        profile = profile.model_copy(update={"avatar": keep_avatar(home() / "images", picture)})
    folder = profiles_folder()
    taken = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    chosen = profile_id or new_id(profile.name, taken)
    path = find(folder, chosen)
    before = text_of(path) if path else None
    save(folder, chosen, profile, before or "", before)
    return chosen


def delete_profile(profile_id: str) -> Callable[[], None]:
    """Delete a profile; the function that is returned puts it back."""
    path = find(profiles_folder(), profile_id)
    if path is None:
        raise ConfigError("This profile's file is gone already.")
    text = remove(path)
    return lambda: put(path, text)
