"""The files that carry cards: version 3's zip, WebP and JPEG with Exif, pictures with two cards or a broken one."""

import base64
import io
import json
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from menny.errors import MennyError
from menny.personas.avatars import as_avatar
from menny.personas.card_books import read_lorebook
from menny.personas.imports import read_import
from tests.personas import card_files as cards

USER_COMMENT, DESCRIPTION, EXIF_IFD = 0x9286, 0x010E, 0x8769
JSON = cards.as_json(cards.V2)


def picture(kind: str, color: str = "#884422", exif: Image.Exif | None = None) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (60, 90), color).save(written, kind, **({} if exif is None else {"exif": exif}))
    return written.getvalue()


def with_exif(kind: str, comment: bytes = b"", description: str = "") -> bytes:
    """A picture with a card in its Exif."""
    exif = Image.Exif()
    if comment:
        exif[EXIF_IFD] = {USER_COMMENT: comment}
    if description:
        exif[DESCRIPTION] = description
    return picture(kind, exif=exif)


def charx(card: Any = cards.V3, **members: bytes) -> bytes:
    """Version 3's zip, with pictures under names whose slashes are written as two underscores."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", card if isinstance(card, bytes) else cards.as_json(card))
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return written.getvalue()


def with_icon(uri: str) -> dict[str, Any]:
    assets = [
        {"type": "background", "uri": "embeded://assets/background/b.png", "name": "main", "ext": "png"},
        {"type": "icon", "uri": "embeded://assets/icon/other.png", "name": "other", "ext": "png"},
        {"type": "icon", "uri": uri, "name": "main", "ext": "png"},
    ]
    return {**cards.V3, "data": {**cards.V3["data"], "assets": assets}}


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
@pytest.mark.parametrize(
    "comment",
    [
        JSON,
        b"ASCII\0\0\0" + JSON,
        b"\0" * 8 + JSON,
        b"UNICODE\0" + JSON.decode().encode("utf-16-le"),
        b"UNICODE\0" + JSON.decode().encode("utf-16-be"),
        b"ASCII\0\0\0" + base64.b64encode(JSON),
        ",".join(map(str, JSON)).encode(),
    ],
    ids=["json", "ascii", "undefined", "utf-16-le", "utf-16-be", "base64", "numbers"],
)
def test_a_picture_with_a_card_in_its_exif_is_a_character_with_that_picture(kind: str, comment: bytes) -> None:
    file = with_exif(kind, comment)
    imported = read_import(f"sera.{kind.lower()}", file)
    assert (imported.persona.name, imported.notices) == ("Seraphina", ())
    assert imported.picture == file


def test_a_card_in_the_description_of_exif_is_found_and_a_photo_has_none() -> None:
    assert read_import("a.webp", with_exif("WEBP", description=JSON.decode())).persona.name == "Seraphina"
    for photo in (picture("WEBP"), with_exif("JPEG", b"ASCII\0\0\0A day at the sea"), with_exif("WEBP", b"\0" * 30)):
        with pytest.raises(MennyError, match="holds no character card"):
            read_import("photo", photo)


@pytest.mark.parametrize("uri", ["embeded://assets/icon/main.png", "embedded://assets/icon/main.png"])
def test_a_charx_is_a_character_with_its_main_icon(uri: str) -> None:
    main = picture("PNG", "#112233")
    pictures = {"assets__icon__main.png": main, "assets__icon__other.png": picture("PNG"), "assets__b.bin": b"x"}
    for file in (charx(with_icon(uri), **pictures), picture("JPEG") + charx(with_icon(uri), **pictures)):
        imported = read_import("sera.charx", file)
        assert imported.persona.name == "Seraphina"
        assert imported.picture == main
        assert imported.notices == ("Seraphina: 2 other files in it were left out.",)


def test_a_charx_without_a_named_icon_takes_any_and_without_any_picture_none() -> None:
    one = picture("WEBP")
    assert read_import("a.charx", charx(cards.V3, **{"assets__icon__x.webp": one})).picture == one
    assert (
        read_import("a.charx", charx(with_icon("embeded://gone.png"), **{"assets__icon__x.webp": one})).picture == one
    )
    bare = read_import("a.charx", charx())
    assert (bare.picture, bare.notices) == (None, ())
    broken = read_import("a.charx", charx(cards.V3, **{"assets__icon__x.png": b"no picture"}))
    assert (broken.picture, broken.notices) == (None, ("Seraphina: its picture was left out, as it can't be used.",))


def test_an_icon_that_stands_in_the_json_is_the_picture() -> None:
    one = picture("PNG")
    card = with_icon("data:image/png;base64," + base64.b64encode(one).decode())
    assert read_import("a.json", cards.as_json(card)).picture == one
    assert read_import("a.json", cards.as_json(with_icon("data:image/png;base64,@@"))).picture is None
    assert read_import("a.json", cards.as_json(with_icon("https://example.org/x.png"))).picture is None


def zip_with(**changes: Any) -> bytes:
    """A .charx whose one member has another header."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("card.json", JSON)
    data = bytearray(written.getvalue())
    entry = data.index(b"PK\x01\x02")
    for offset, value in changes.values():
        for start in (entry + offset, offset - 2):  # in the directory, and before the member
            data[start : start + 2] = value.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (charx(b"{"), "valid JSON"),
        (charx(b"[1]"), "JSON object"),
        (charx(b"{}"), "isn't a character card"),
        (charx(b" " * (33 * 1024 * 1024)), "larger than 32 MB"),
        (charx()[: len(charx()) // 2], "can't read it"),
        (zip_with(flags=(8, 1)), "damaged, encrypted"),
        (zip_with(method=(10, 99)), "damaged, encrypted"),
        (b"PK\5\6" + b"\0" * 18, "can't read it|null|character|U\\+"),
    ],
    ids=["cut JSON", "a list", "nothing", "a bomb", "half a zip", "encrypted", "an odd method", "an empty zip"],
)
def test_a_zip_that_is_no_card_is_a_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(MennyError, match=reason) as refused:
        read_import("a.charx", data)
    assert len(str(refused.value).splitlines()) == 1


READ = r"can't read it; it reads .*pictures and zips with a"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("junk.png", b"no picture", "can't read it, as it isn't a picture"),
        ("junk.PNG", b"not: a picture", "can't read it, as it isn't a picture"),
        ("junk.webp", b"\xff\xfe\x00junk", "can't read it, as it isn't a picture"),
        ("zeros.jpg", bytes(100), "can't read it, as it isn't a picture"),
        ("moving.gif", b"GIF89a\1\0\1\0", "the picture holds no character card"),
        ("junk.charx", b"hello", "can't read it, as it isn't a zip or is cut off"),
        ("empty.zip", b"PK\5\6" + b"\0" * 18, "the zip holds no character card"),
        ("card.json", b"hello", "the file isn't valid JSON"),
        ("card.json", b"[1]", "the file isn't a JSON object"),
        ("notes.txt", b"Dear diary.\nI saw a cat: black.", READ),
        ("paper.pdf", b"%PDF-1.4\n", READ),
        ("program", b"\x7fELF\2\1", READ),
        ("cy.yaml", b"hello", "line 1: the file must hold keys with values"),
        ("cy.txt", b"# a persona\nname: [\n", "line 3: this isn't valid YAML"),
        ("no.png", b" \n", "the file is empty"),
    ],
)
def test_what_isnt_as_its_name_says_is_refused_in_words_of_that_kind(name: str, data: bytes, reason: str) -> None:
    for read in (read_import, read_lorebook):
        with pytest.raises(MennyError, match=rf"^{name} couldn't be imported: (Menny )?{reason}"):
            read(name, data)


@pytest.mark.parametrize(
    "newer",
    ["AAAA", "@@@@", base64.b64encode(b"{}").decode(), base64.b64encode(b"[1]").decode(), cards.packed({"spec": "x"})],
)
def test_of_a_broken_and_a_sound_card_the_sound_one_is_taken(newer: str) -> None:
    for texts in ({"ccv3": newer, "chara": cards.packed(cards.V2)}, {"chara": newer, "ccv3": cards.packed(cards.V2)}):
        imported = read_import("a.png", cards.as_png(texts))
        assert imported.persona.name == "Seraphina"
    if newer != "@@@@":
        file = cards.as_png({"ccv3": newer, "chara": cards.packed(cards.V2)})
        assert read_import("a.png", file).notices == (
            "Seraphina: the newer of its two cards can't be read, so the older one was taken.",
        )


def test_a_picture_that_is_cut_off_after_its_card_is_left_out_and_the_character_is_not() -> None:
    whole = cards.as_png({"chara": cards.packed(cards.V2)})
    imported = read_import("a.png", whole[:-60])
    assert (imported.persona.name, imported.picture) == ("Seraphina", None)
    assert imported.notices == ("Seraphina: its picture was left out, as it is damaged or cut off.",)


def test_a_card_that_comes_after_the_pixels_is_found_and_its_keyword_may_be_in_capitals() -> None:
    plain, marked = cards.as_png({}), cards.as_png({"Chara": cards.packed(cards.V2)})
    start = marked.index(b"tEXt") - 4
    length = int.from_bytes(marked[start : start + 4], "big") + 12
    late = plain[:-12] + marked[start : start + length] + plain[-12:]
    for file in (marked, late):
        assert read_import("a.png", file).persona.name == "Seraphina"


def test_the_json_itself_may_stand_in_the_picture() -> None:
    assert read_import("a.png", cards.as_png({"chara": json.dumps(cards.V2)})).persona.name == "Seraphina"


FILES = [with_exif("WEBP", JSON), with_exif("JPEG", JSON), charx(cards.V3, **{"assets__icon__x.png": picture("PNG")})]


@given(st.sampled_from(FILES), st.integers(0, 5000), st.binary(max_size=8), st.booleans())
def test_whatever_is_broken_in_a_file_gives_a_character_or_a_sentence(
    file: bytes, place: int, noise: bytes, is_cut: bool
) -> None:
    place %= len(file)
    changed = file[:place] + noise + (b"" if is_cut else file[place + len(noise) :])
    try:
        imported = read_import("x", changed)
    except MennyError as error:
        sentence = str(error)
    else:
        sentence = imported.persona.name
        if imported.picture:
            as_avatar(imported.picture)
    assert len(sentence.splitlines()) == 1
