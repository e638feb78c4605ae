"""The pictures of the page by name, with icons in place of missing ones."""

from pathlib import Path

import streamlit as st

from menny.config.paths import PROJECT
from menny.personas.persona import Persona
from menny.personas.profiles import Profile

IMAGES = PROJECT / "images"


def picture(name: str) -> str | None:
    """Return the file of a picture, the smaller format first; None if the picture is missing."""
    return next((str(path) for ending in ("webp", "png") if (path := IMAGES / f"{name}.{ending}").is_file()), None)


def avatar_of(persona: Persona) -> str:
    """Return the file of a persona's avatar, or an icon."""
    path: Path | None = persona.avatar_path()
    return str(path) if path else ":material/smart_toy:"


def draw_avatar(persona: Persona, width: int) -> None:
    """Draw an avatar on a card, or an icon of the same width."""
    avatar = avatar_of(persona)
    if not avatar.startswith(":"):
        st.image(avatar, width=width, alt="")
        return
    with st.container(key=f"no-avatar-{width}-{persona.id}", width=width):
        st.markdown(avatar)


def human_avatar(profile: Profile | None = None) -> str:
    """Return the file of the user's avatar, their profile's if it has one, or an icon."""
    if profile and (path := profile.avatar_path()):
        return str(path)
    return picture("human-avatar") or ":material/person:"
