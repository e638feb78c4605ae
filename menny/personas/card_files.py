"""The files that carry a character card: JSON, a picture (PNG, WebP or JPEG), and version 3's zip (.charx)."""

import base64
import binascii
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from menny.config.json_reader import read_json_object
from menny.config.yaml_reader import FILE_ENDINGS
from menny.errors import ConfigError
from menny.personas.avatars import MAX_BYTES as MAX_PICTURE
from menny.personas.avatars import MAX_PIXELS

MAX_JSON = 32 * 1024 * 1024
MAX_VALUES = 1_500_000  # as many as a lorebook of 10,000 entries has
MAX_MEMBERS = 10_000
CARD_IN_ZIP = "card.json"
ICON_IN_ZIP = "assets/icon/main.png"
KEYWORDS = ("ccv3", "chara")  # the newer first
EXIF_TEXTS = (0x9286, 0x010E)  # UserComment, ImageDescription
EXIF_IFD = 0x8769
CHARSETS = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8)  # what a UserComment may begin with
PICTURE_FORMATS = ("PNG", "WEBP", "JPEG")
PICTURE_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8\xff")
PICTURE_ENDINGS = (".png", ".webp", ".jpg", ".jpeg", ".gif")
ZIP_ENDINGS = (".charx", ".zip")
FIRST_KEY = re.compile(rb"(?:\s*#.*\n|\s)*(?:---|[^\s:#][^\n:]{0,99}:(?:\s|$))")  # what YAML begins with
NO_CARD = "the picture holds no character card"
DAMAGED = "the picture is damaged or cut off; get the file again"
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class CardFile:
    """The cards in a file as JSON, the one to prefer first, the picture that came with them, and notices."""

    cards: tuple[bytes, ...]
    picture: bytes | None = None
    notices: tuple[str, ...] = field(default_factory=tuple)


def read_card_file(data: bytes) -> CardFile | None:
    """The cards in a picture or a zip; None for any other file. Raises ConfigError."""
    if zipfile.is_zipfile(io.BytesIO(data)) and (found := _in_zip(data)):
        return found
    return _in_picture(data) if data.startswith(PICTURE_SIGNATURES) else None


def why_unreadable(name: str, data: bytes, readable: str) -> str:
    """Return why a file without a card can't be text that we read: its name says otherwise, or no YAML begins like it.

    Empty where it may be; `readable` lists what could be read.
    """
    ending, text = PurePath(name).suffix.lower(), data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text or text.startswith((b"{", b"[")):
        return "the file isn't a JSON object" if ending == ".json" and text.startswith(b"[") else ""
    if ending in PICTURE_ENDINGS:
        is_gif = data.startswith((b"GIF87a", b"GIF89a"))
        return NO_CARD if is_gif else "Menny can't read it, as it isn't a picture"
    if ending in ZIP_ENDINGS:
        is_zip = zipfile.is_zipfile(io.BytesIO(data))
        return "the zip holds no character card" if is_zip else "Menny can't read it, as it isn't a zip or is cut off"
    if ending == ".json":
        return "the file isn't valid JSON"
    if ending not in FILE_ENDINGS and not FIRST_KEY.match(text):
        return f"Menny can't read it; it reads {readable}"
    return ""


def card_in_json(data: bytes) -> dict[str, Any]:
    """The JSON object in a file; a number that JSON can't say is infinite. Raises ConfigError."""
    return read_json_object(data, "the card", MAX_JSON, MAX_VALUES)


def picture_with_card(picture: bytes, keyword: str, card: bytes) -> bytes:
    """A picture as a PNG that carries a card's JSON under a keyword."""
    texts, written = PngInfo(), io.BytesIO()
    texts.add_text(keyword, base64.b64encode(card).decode())
    with Image.open(io.BytesIO(picture)) as opened:
        opened.save(written, "PNG", pnginfo=texts, optimize=True)
    return written.getvalue()


def zip_with_card(picture: bytes, card: Mapping[str, Any]) -> bytes:
    """Version 3's zip (.charx), with a picture in PNG as the card's main icon."""
    data = dict(card["data"])
    others = [asset for asset in data.get("assets") or () if isinstance(asset, Mapping) and asset.get("type") != "icon"]
    data["assets"] = [{"type": "icon", "uri": f"embeded://{ICON_IN_ZIP}", "name": "main", "ext": "png"}, *others]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CARD_IN_ZIP, json.dumps({**card, "data": data}, ensure_ascii=False, indent=2))
        archive.writestr(ICON_IN_ZIP, picture)
    return written.getvalue()


def _in_picture(data: bytes) -> CardFile:
    notices: tuple[str, ...] = ()
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ConfigError(f"the picture has more than {MAX_PIXELS // 10**6} million pixels")
            texts = list(_texts_of(picture))
            try:
                picture.load()  # the texts after the pixels are there now
                texts += [text for text in _texts_of(picture) if text not in texts]
            except Exception:  # whatever Pillow's readers raise at a broken file
                notices = ("its picture was left out, as it is damaged or cut off",)
    except ConfigError:
        raise
    except ValueError:  # Pillow unpacks at most 1 MB of a text
        raise ConfigError("the picture's text is larger than 1 MB") from None
    except Exception:  # as above
        raise ConfigError(DAMAGED) from None
    order = {keyword: place for place, keyword in enumerate((*KEYWORDS, ""))}
    cards = [_json_of(text) for _, text in sorted(texts, key=lambda item: order[item[0]])]
    if not texts:
        raise ConfigError(DAMAGED if notices else NO_CARD)
    if not any(cards):
        raise ConfigError("the card in the picture isn't base64 text")
    return CardFile(tuple(filter(None, cards)), None if notices else data, notices)


def _texts_of(picture: Image.Image) -> Iterator[tuple[str, bytes]]:
    """The texts that may be cards, each with its keyword in small letters; those of Exif have none."""
    for key, value in picture.info.items():
        if isinstance(key, str) and key.lower() in KEYWORDS and isinstance(value, str | bytes):
            yield key.lower(), value.encode("utf-8", "replace") if isinstance(value, str) else value
    try:
        exif = picture.getexif()
        values = [exif.get_ifd(EXIF_IFD).get(EXIF_TEXTS[0]), exif.get(EXIF_TEXTS[1])]
    except Exception:  # whatever Pillow's reader raises at broken Exif
        return
    for value in values:
        text = value.encode("utf-8", "replace") if isinstance(value, str) else value
        card = _json_of(text) if isinstance(text, bytes) else None
        if card and card.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):  # else it is about the picture
            yield "", card


def _json_of(text: bytes) -> bytes | None:
    """A card's JSON in a picture's text: as it is, as base64, or as numbers of bytes; else None."""
    charset = next((mark for mark in CHARSETS if text.startswith(mark)), b"")
    bare = text[len(charset) :].strip(b"\0 \t\r\n")
    if charset == b"UNICODE\0" and b"\0" in bare[:8]:
        encoding = "utf-16-be" if text[8:9] == b"\0" else "utf-16-le"
        bare = text[8:].decode(encoding, "replace").strip("\ufeff\0 \t\r\n").encode()
    if bare.startswith((b"{", b"\xef\xbb\xbf{")):
        return bare
    if re.fullmatch(rb"\d{1,3}(,\d{1,3})+", bare):
        numbers = [int(number) for number in bare.split(b",")]
        return bytes(numbers) if max(numbers) < 256 else None
    packed = b"".join(bare.split())
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True) or None
    except binascii.Error:
        return None


def _in_zip(data: bytes) -> CardFile | None:
    """Version 3's zip, which may stand behind a picture; None for a zip without a card."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if CARD_IN_ZIP not in (member.filename for member in members):
                return None
            if len(members) > MAX_MEMBERS:
                raise ConfigError(f"there are more than {MAX_MEMBERS:,} files in it")
            card = _member(archive, CARD_IN_ZIP, MAX_JSON)
            if card is None:
                raise ConfigError(f"the card is larger than {MAX_JSON // 1024**2} MB")
            icon = _icon_in(card, [member.filename for member in members])
            picture = _member(archive, icon, MAX_PICTURE) if icon else None
    except UNREADABLE_ZIP:
        raise ConfigError("the zip is damaged, encrypted, or of a kind that can't be read") from None
    others = sum(not member.is_dir() and member.filename not in (CARD_IN_ZIP, icon) for member in members)
    left_out = "1 other file in it was" if others == 1 else f"{others} other files in it were"
    return CardFile((card,), picture, (f"{left_out} left out",) if others else ())


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes | None:
    """A member's content, whatever its header says of its size; None where it is larger."""
    with archive.open(name) as file:
        content = file.read(limit + 1)
    return content if len(content) <= limit else None


def _icon_in(card: bytes, names: list[str]) -> str:
    """The member that is the character's picture: the card's main icon, else any icon; empty where it has no icon."""
    try:
        assets = card_in_json(card)["data"]["assets"]
        icons = [asset for asset in assets if isinstance(asset, Mapping) and asset.get("type") == "icon"]
        icons.sort(key=lambda asset: asset.get("name") != "main")
        wanted = [re.sub(r"^embedd?ed://", "", str(asset.get("uri"))) for asset in icons]
    except (ConfigError, LookupError, TypeError):
        wanted = []
    pictures = [name for name in names if re.fullmatch(r"assets/icon/.+\.(png|jpe?g|webp|gif)", name, re.IGNORECASE)]
    return next((name for name in [*wanted, *pictures] if name in names), "")


def picture_in_json(card: Mapping[str, Any]) -> bytes | None:
    """The main icon of a card of version 3 that carries it as a `data:` address; None where there isn't one."""
    data = card.get("data")
    assets = data.get("assets") if isinstance(data, Mapping) else None
    for asset in assets if isinstance(assets, list) else ():
        if isinstance(asset, Mapping) and asset.get("type") == "icon" and isinstance(uri := asset.get("uri"), str):
            head, _, packed = uri[: MAX_PICTURE * 4 // 3 + 100].partition(",")
            if re.fullmatch(r"data:image/[\w.+-]+;base64", head):
                try:
                    return base64.b64decode(packed, validate=True)
                except binascii.Error:
                    return None
    return None
