"""The kind of a file, by its first bytes and its name."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Literal

Kind = Literal[
    "text",
    "PDF",
    "Word document",
    "old Word document",
    "picture",
    "recording",
    "spreadsheet",
    "presentation",
    "OpenDocument file",
    "archive",
    "rich text",
    "e-book",
]

BEGINNINGS: Sequence[tuple[bytes, Kind]] = (
    (b"\x89PNG\r\n\x1a\n", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"GIF87a", "picture"),
    (b"GIF89a", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"ID3", "recording"),
    (b"OggS", "recording"),
    (b"fLaC", "recording"),
    (b"\x1aE\xdf\xa3", "recording"),
    (b"\xd0\xcf\x11\xe0", "old Word document"),
    (b"{\\rtf", "rich text"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"7z\xbc\xaf", "archive"),
    (b"Rar!", "archive"),
    (b"\xfd7zXZ", "archive"),
)
ENDINGS: Mapping[str, Kind] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"), "picture"),
    **dict.fromkeys((".mp3", ".m4a", ".wav", ".ogg", ".flac", ".mp4", ".mov", ".mkv", ".webm", ".avi"), "recording"),
    ".doc": "old Word document",
    ".xls": "spreadsheet",
    ".ppt": "presentation",
}
WITHIN_ZIPS: Sequence[tuple[str, Kind]] = (
    ("word/document.xml", "Word document"),
    ("xl/workbook.xml", "spreadsheet"),
    ("ppt/presentation.xml", "presentation"),
    ("META-INF/container.xml", "e-book"),
    ("content.xml", "OpenDocument file"),
)


def kind_of(ending: str, data: bytes) -> Kind:
    """Return what a file is: `ending` is its name's, as ".pdf"; text where nothing says otherwise."""
    if b"%PDF-" in data[:1024]:
        return "PDF"
    if data.startswith(b"PK\x03\x04"):
        return "Word document" if ending == ".docx" else _kind_of_zip(data)
    if ending in ENDINGS:
        return ENDINGS[ending]
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return "picture" if data[8:12] == b"WEBP" else "recording"
    if data[4:8] == b"ftyp":
        return "picture" if data[8:12] in (b"heic", b"heix", b"avif", b"mif1") else "recording"
    return next((kind for beginning, kind in BEGINNINGS if data.startswith(beginning)), "text")


def _kind_of_zip(data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = set(file.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return "archive"
    return next((kind for name, kind in WITHIN_ZIPS if name in names), "archive")
