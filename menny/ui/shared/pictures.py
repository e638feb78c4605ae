"""The pictures of the page by name, with icons in place of missing ones."""

import base64
import functools
import io
from contextlib import suppress
from pathlib import Path

import streamlit as st
from PIL import Image

from menny.config.paths import PROJECT
from menny.personas.persona import Persona
from menny.personas.profiles import Profile

IMAGES = PROJECT / "images"
NO_AVATAR = ":material/smart_toy:"


def picture(name: str) -> str | None:
    """Return the file of a picture, the smaller format first; None if the picture is missing."""
    return next((str(path) for ending in ("webp", "png") if (path := IMAGES / f"{name}.{ending}").is_file()), None)


def avatar_of(persona: Persona) -> str:
    """Return the file of a persona's avatar, or an icon."""
    path: Path | None = persona.avatar_path()
    return str(path) if path else NO_AVATAR


def draw_avatar(persona: Persona, width: int) -> None:
    """Draw an avatar on a card, or an icon of the same width."""
    if address := _address_of(persona.avatar_path(), width):
        st.image(address, width=width, alt="")
        return
    with st.container(key=f"no-avatar-{width}-{persona.id}", width=width):
        st.markdown(NO_AVATAR)


def _address_of(path: Path | None, width: int) -> str:
    """Return a small picture as a data: address; "" where it can't be drawn."""
    with suppress(OSError, ValueError, Image.DecompressionBombError):
        if path:
            return _drawn_small(path, path.stat().st_mtime_ns, width)
    return ""


@functools.lru_cache(maxsize=256)
def _drawn_small(path: Path, age: int, width: int) -> str:
    """As `_address_of`: a page with many pictures is drawn without reading a file for each."""
    del age  # it is here to be part of the cache's key
    written = io.BytesIO()
    with Image.open(path) as picture:
        picture.thumbnail((2 * width, 2 * width))  # sharp on fine screens
        picture.convert("RGBA").save(written, "WEBP", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def human_avatar(profile: Profile | None = None) -> str:
    """Return the file of the user's avatar, their profile's if it has one, or an icon."""
    if profile and (path := profile.avatar_path()):
        return str(path)
    return picture("human-avatar") or ":material/person:"
