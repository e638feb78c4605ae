"""Avatars: any picture becomes a small square PNG of our own, so that nothing of a file from elsewhere is kept."""

import hashlib
import io
from pathlib import Path

from PIL import Image, ImageOps

from menny.errors import ConfigError, StorageError
from menny.files import write_atomic

KINDS = ("PNG", "JPEG", "WEBP", "GIF")
SIDE = 320
MAX_BYTES = 12 * 1024 * 1024
MAX_PIXELS = 40_000_000
UPPER_MIDDLE = (0.5, 0.2)  # where a portrait's face is


def as_avatar(data: bytes) -> bytes:
    """A square PNG of a picture, cut from its upper middle; raises ConfigError where it isn't one that can be used."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"The picture is larger than {MAX_BYTES // 1024**2} MB; choose a smaller one.")
    try:
        with Image.open(io.BytesIO(data), formats=KINDS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError  # before it is unpacked
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except Exception:  # whatever Pillow's readers raise at a broken file
        raise ConfigError(
            "The picture can't be used; choose a PNG, JPEG, WebP or GIF file of at most 40 million pixels."
        ) from None
    square = ImageOps.fit(upright, (SIDE, SIDE), Image.Resampling.LANCZOS, centering=UPPER_MIDDLE)
    return _png(square if square.getchannel("A").getextrema() != (255, 255) else square.convert("RGB"))


def keep_avatar(images: Path, png: bytes) -> str:
    """Put an avatar into the images folder under a name of its own; returns its name for a persona's file."""
    name = f"avatar-{hashlib.sha256(png).hexdigest()[:16]}.png"
    try:
        if not (images / name).is_file():
            write_atomic(images / name, png)
    except OSError as error:
        raise StorageError(
            f"The picture can't be kept in {images} ({error.strerror}); make room or give Menny the right to write."
        ) from None
    return f"{images.name}/{name}"


def blank_avatar() -> bytes:
    """The picture on a card of a persona that has none."""
    return _png(Image.new("RGB", (SIDE, SIDE), "#ff8617"))


def _png(picture: Image.Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()
