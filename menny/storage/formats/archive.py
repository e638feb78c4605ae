"""Chats as files: one archive of everything, and what can be taken in: archives, single chats, ChatGPT's export.

A file is read whole and checked whole before anything of it is kept, and nothing of it is ever written under a name
that it brings along.
"""

import io
import json
import re
import stat
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from menny.errors import StorageError
from menny.storage.formats.chatgpt import from_export
from menny.storage.formats.json import as_json, from_json
from menny.storage.formats.sillytavern import from_sillytavern, is_sillytavern
from menny.storage.values import Transcript

MOST_BYTES = 256 * 2**20  # of a file, and of all that is unpacked from one
MOST_FILES = 50_000
MANIFEST, CHATS = "menny-archive.json", "chats"
EXPORT = re.compile(r"conversations(-\d+)?\.json")  # a large export of ChatGPT's is in numbered parts
BESIDES = ("personas", "images")  # the folders of what an archive holds besides chats
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was in a file."""

    transcripts: list[Transcript] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)  # what else, by name: personas/…, images/…


def pack(transcripts: Iterable[Transcript], files: Mapping[str, bytes]) -> bytes:
    """An archive: a zip with one document a chat, and files in folders of BESIDES."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps({"format": "menny-archive", "version": 1}))
        for transcript in transcripts:
            archive.writestr(f"{CHATS}/{transcript.conversation.id}.json", as_json(transcript))
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def unpack(name: str, data: bytes) -> Unpacked:
    """What is in a file. StorageError, which names the file and says what is wrong, where it can't be used."""
    try:
        if len(data) > MOST_BYTES:
            raise StorageError(f"it is larger than {MOST_BYTES // 2**20} MB")
        unpacked = _from_zip(data) if data.startswith(b"PK") else Unpacked(_from_json(data))
        ids = [transcript.conversation.id for transcript in unpacked.transcripts]
        if not ids and not unpacked.files:
            raise StorageError("there is no chat in it")
        if len(set(ids)) < len(ids):
            raise StorageError("a chat is in it twice")
    except StorageError as error:
        raise StorageError(f"{name}: {error}. Nothing was imported.") from None
    return unpacked


def _from_json(data: bytes) -> list[Transcript]:
    data = data.removeprefix(BOM_UTF8)
    if is_sillytavern(data):
        return [from_sillytavern(data)[0]]
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise StorageError("it is no JSON, or cut off") from None
    if isinstance(found, dict) and "format" in found:
        return [from_json(data)]
    if isinstance(found, list) or (isinstance(found, dict) and "mapping" in found):
        return from_export(found if isinstance(found, list) else [found])
    raise StorageError("it is neither a chat of Menny's nor an export of ChatGPT's")


def _from_zip(data: bytes) -> Unpacked:
    unpacked = Unpacked()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_names(members)
            is_ours = MANIFEST in archive.namelist()
            left = MOST_BYTES
            for member in members:
                path = PurePosixPath(member.filename)
                is_chat = path.parent == PurePosixPath(CHATS) and path.suffix == ".json"
                is_besides = is_ours and len(path.parts) > 1 and path.parts[0] in BESIDES and not member.is_dir()
                if not (is_chat or is_besides or EXPORT.fullmatch(path.name)):
                    continue
                content = _read(archive, member, left)
                left -= len(content)
                if is_besides:
                    unpacked.files[str(path)] = content
                else:
                    unpacked.transcripts.extend([from_json(content)] if is_chat else _from_json(content))
    except UNREADABLE:
        raise StorageError("the archive is damaged, or of a kind that can't be read") from None
    return unpacked


def _check_names(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_FILES:
        raise StorageError(f"there are more than {MOST_FILES:,} files in it")
    for member in members:
        path, as_windows = PurePosixPath(member.filename), PureWindowsPath(member.filename)
        points_outside = path.is_absolute() or as_windows.drive or as_windows.root or ".." in as_windows.parts
        if points_outside or stat.S_ISLNK(member.external_attr >> 16):
            raise StorageError("it names files outside of itself")
        if member.flag_bits & 1:
            raise StorageError("it is encrypted")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """A member, whatever its header says of its size."""
    with archive.open(member) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise StorageError(f"unpacked, it is larger than {MOST_BYTES // 2**20} MB")
    return text
