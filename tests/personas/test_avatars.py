"""Avatars: whatever picture is given, a small square PNG of our own comes out, or one sentence."""

import io
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from menny.errors import ConfigError, StorageError
from menny.personas.avatars import SIDE, as_avatar, blank_avatar, keep_avatar
from menny.personas.persona import Persona


def picture(kind: str, size: tuple[int, int] = (90, 200)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, "#3366cc").save(written, kind)
    return written.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_of_any_kind_becomes_a_small_square_png(kind: str) -> None:
    with Image.open(io.BytesIO(as_avatar(picture(kind)))) as avatar:
        assert (avatar.format, avatar.size) == ("PNG", (SIDE, SIDE))
        red, green, blue = avatar.convert("RGB").getpixel((9, 9))  # type: ignore[misc]
        assert blue > 150 > green > red


def test_nothing_of_the_strangers_file_is_kept_but_its_look() -> None:
    info, written = PngInfo(), io.BytesIO()
    info.add_text("chara", "secret")
    Image.new("RGBA", (50, 50), (255, 0, 0, 0)).save(written, "PNG", pnginfo=info)
    avatar = as_avatar(written.getvalue() + b"<script>")
    assert b"secret" not in avatar
    assert b"script" not in avatar
    with Image.open(io.BytesIO(avatar)) as kept:
        assert kept.getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_a_large_drawing_of_one_colour_is_refused_before_it_is_unpacked() -> None:
    written = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(written, "PNG")
    with pytest.raises(ConfigError, match="40 million pixels"):
        as_avatar(written.getvalue())


@pytest.mark.parametrize("data", [b"", b"GIF89a", picture("PNG")[:60], b"<svg/>", b"x" * (13 * 1024 * 1024)])
def test_what_is_no_usable_picture_is_told_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ConfigError, match="picture"):
        as_avatar(data)


def test_a_kept_avatar_is_found_by_its_persona(temporary_home: Path) -> None:
    home = temporary_home / "menny"
    name = keep_avatar(home / "images", blank_avatar())
    assert keep_avatar(home / "images", blank_avatar()) == name
    persona = Persona(id="x", name="X", system_prompt="x", avatar=name)
    assert persona.avatar_path() == (home / name).resolve()
    assert Persona(id="m", name="M", system_prompt="x", avatar="images/menny-avatar.png").avatar_path()
    assert [file.name for file in (home / "images").iterdir()] == [Path(name).name]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("")
    with pytest.raises(StorageError, match="can't be kept"):
        keep_avatar(tmp_path / "images", blank_avatar())
