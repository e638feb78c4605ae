"""The pictures the page shows, by name; a picture that isn't there leaves its place to what stands in for it."""

from pathlib import Path

import streamlit as st

from menny.config.paths import PROJECT
from menny.personas.persona import Persona

IMAGES = PROJECT / "images"


def picture(name: str) -> str | None:
    """The file of a picture, smallest kind first."""
    return next((str(path) for ending in ("webp", "png") if (path := IMAGES / f"{name}.{ending}").is_file()), None)


def avatar_of(persona: Persona) -> str:
    """A persona's avatar."""
    path: Path | None = persona.avatar_path()
    return str(path) if path else ":material/smart_toy:"


def draw_avatar(persona: Persona, width: int) -> None:
    """The avatar on a card; who has none gets the sign that stands in for it, as wide."""
    avatar = avatar_of(persona)
    if not avatar.startswith(":"):
        st.image(avatar, width=width, alt="")
        return
    with st.container(key=f"no-avatar-{width}-{persona.id}", width=width):
        st.markdown(avatar)


def human_avatar() -> str:
    """The user's."""
    return picture("human-avatar") or ":material/person:"
