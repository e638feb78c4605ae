"""The files of the user's profiles, as the page writes them."""

import re
from collections.abc import Callable

from menny.config.paths import home
from menny.errors import ConfigError
from menny.personas.avatars import keep_avatar
from menny.personas.files import find, new_id, put, remove, save, text_of
from menny.personas.persona import PersonaFile
from menny.personas.profiles import MAX_DESCRIPTION, ProfileFile, profiles_folder
from menny.ui.personas.persona_store import own_personas


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
        raise ConfigError("This profile's file has already been deleted.")
    text = remove(path)
    return lambda: put(path, text)


def copy_to_profiles(persona: PersonaFile) -> str:
    """Make a profile of a persona, with its picture; return its id. Raises ConfigError where the text is too long."""
    if (length := len(persona.system_prompt)) > MAX_DESCRIPTION:
        raise ConfigError(
            f"{persona.name} couldn't be copied: a profile has room for {MAX_DESCRIPTION:,} characters, and this "
            f"description has {length:,}. Shorten a duplicate, and copy that."
        )
    about = _swapped(persona.system_prompt)
    return keep_profile(ProfileFile(name=persona.name, description=about, avatar=persona.avatar))


def copy_to_personas(profile: ProfileFile) -> str:
    """Make a persona of a profile, with its picture; return its id."""
    text = _swapped(profile.description) if profile.description.strip() else f"You are {profile.name}."
    name = own_personas().free_name(profile.name)
    persona = PersonaFile(name=name, system_prompt=text, avatar=profile.avatar)
    return own_personas().keep(persona, "", None, base="", expected=None)


def _swapped(text: str) -> str:
    """A text whose two names stand for each other: who was talked to now talks."""
    names = {"user": "{{char}}", "char": "{{user}}"}
    return re.sub(r"\{\{(user|char)\}\}", lambda found: names[found[1].lower()], text, flags=re.IGNORECASE)
