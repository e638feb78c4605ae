"""Chats as files: one archive of everything, and what can be imported: archives, single chats, others' exports.

A file is read and checked whole before anything of it is kept, one chat at a time, so that memory is bounded by the
largest chat; the import then reads it once more. Nothing is ever written under a name that a file brings along.
"""

import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from menny.errors import StorageError
from menny.storage.formats.chatgpt import ReadChat, is_chat, read_chat
from menny.storage.formats.json import as_json, from_json
from menny.storage.formats.json_parts import as_utf8, is_array, load, split
from menny.storage.formats.sillytavern import from_sillytavern, is_sillytavern
from menny.storage.values import Transcript

MOST_BYTES = 256 * 2**20  # of a file, and of all that is unpacked from one
MOST_FILES = 50_000
MOST_NOTICES = 5
MANIFEST, CHATS = "menny-archive.json", "chats"
EXPORT = re.compile(r"conversations(-\d+)?\.json")  # a large export of ChatGPT's is in numbered parts
BESIDES = (
    "personas",
    "images",
    "lorebooks",
    "profiles",
    "memory",
)  # the folders of what an archive holds besides chats
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Transcripts:
    """The chats of a file, read from it anew at every pass, one at a time."""

    _read: Callable[[], Iterator[ReadChat]]
    _chosen: Sequence[int]  # numbers of those that are used, in the file's order

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[Transcript]:
        chosen = iter(self._chosen)
        wanted = next(chosen, None)
        for number, chat in enumerate(self._read()):
            if number == wanted and chat.transcript is not None:
                yield chat.transcript
                wanted = next(chosen, None)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The content of a file, and what was left out: names of chats, each with the reason in brackets."""

    transcripts: Transcripts
    files: dict[str, bytes] = field(default_factory=dict)  # besides chats, by name: personas/…, images/…
    notices: tuple[str, ...] = ()

    def report(self, added: int, personas: int, lorebooks: int = 0, profiles: int = 0, facts: int = 0) -> str:
        """Return the sentence on an import of it, by the numbers of what is new."""
        counts = ((personas, "persona"), (lorebooks, "lorebook"), (profiles, "profile"))
        back = " and ".join(_counted(number, what) for number, what in counts if number)
        besides = f", {back} brought back" if back else ""
        besides += f", {_counted(facts, 'line')} that personas remember" if facts else ""
        left_out = f" Not everything could be used: {'; '.join(self.notices)}." if self.notices else ""
        return f"{_counted(len(self.transcripts), 'chat')} read, {_counted(added, 'new message')}{besides}.{left_out}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def pack(transcripts: Iterable[Transcript], files: Mapping[str, bytes]) -> bytes:
    """Make an archive: a zip with one document a chat, and files in folders of BESIDES."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps({"format": "menny-archive", "version": 1}))
        for transcript in transcripts:
            archive.writestr(f"{CHATS}/{transcript.conversation.id}.json", as_json(transcript))
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def unpack(name: str, data: bytes) -> Unpacked:
    """Check a file and return its content. Raises StorageError, which names the file and says what is wrong."""
    try:
        if len(data) > MOST_BYTES:
            raise StorageError(f"it is larger than {MOST_BYTES // 2**20} MB")
        if data.startswith(b"PK"):
            files = _files_of_zip(data)
            return _checked(lambda: _chats_of_zip(data), files)
        document = as_utf8(data)
        return _checked(lambda: _chats_of_document(document), {})
    except StorageError as error:
        raise StorageError(f"{name}: {error}. Nothing was imported.") from None


def _checked(read: Callable[[], Iterator[ReadChat]], files: dict[str, bytes]) -> Unpacked:
    """Read every chat once, to choose those that are used: of a chat that is in the file twice, the fuller one."""
    best: dict[str, tuple[tuple[float, ...], int, int]] = {}  # by id: how full it is, its number, its content's hash
    notices: list[str] = []
    for number, chat in enumerate(read()):
        if chat.left_out:
            notices.append(f"{chat.name} ({', '.join(chat.left_out)})")
        if chat.transcript is None:
            continue
        conversation, entries = chat.transcript.conversation, chat.transcript.entries
        content = hash(tuple((entry.id, entry.parent, entry.text) for entry in entries))
        this = ((len(entries), conversation.updated), number, content)
        other = best.setdefault(conversation.id, this)
        if other[2] != content:
            notices.append(f"{chat.name} (it is in it twice, and the version with more messages is used)")
            best[conversation.id] = max(this, other)
    if not best and not files:
        raise StorageError(f"there is no chat in it{f' that can be read: {notices[0]}' if notices else ''}")
    more = len(notices) - MOST_NOTICES
    shown = [*notices[:MOST_NOTICES], *([f"{more:,} more"] if more > 0 else [])]
    return Unpacked(Transcripts(read, sorted(number for _, number, _ in best.values())), files, tuple(shown))


def _chats_of_document(data: bytes) -> Iterator[ReadChat]:
    """Yield the chats of a document: of Menny's, SillyTavern's or ChatGPT's. Raises StorageError for others."""
    if is_sillytavern(data):
        transcript, left_out = from_sillytavern(data)
        yield ReadChat(f"“{transcript.conversation.title}”", transcript, left_out)
        return
    parts = split(data)
    if is_array(data):
        is_export = False
        for part in parts:
            element = load(data, part)
            is_export = is_export or is_chat(element)
            yield read_chat(element)
        if parts and not is_export:
            raise StorageError("it isn't an export of ChatGPT's, or one of another kind")
        return
    document = load(data, (0, len(data)))
    if isinstance(document, dict) and "format" in document:
        del document
        yield _own_chat(data)
    elif isinstance(document, dict) and "mapping" in document:
        yield read_chat(document)
    else:
        raise StorageError("it is neither a chat of Menny's nor an export of ChatGPT's")


def _own_chat(data: bytes) -> ReadChat:
    transcript = from_json(data)
    return ReadChat(f"“{transcript.conversation.title}”", transcript)


def _chats_of_zip(data: bytes) -> Iterator[ReadChat]:
    """Yield the chats of an archive, of Menny's or of ChatGPT's."""
    left = MOST_BYTES
    with _reading(), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            if _is_own_chat(path):
                content = _read(archive, member, left)
                split(content)  # which bounds what it holds
                yield _own_chat(content)
            elif EXPORT.fullmatch(path.name):
                content = as_utf8(_read(archive, member, left))
                yield from _chats_of_document(content)
            else:
                continue
            left -= len(content)


def _files_of_zip(data: bytes) -> dict[str, bytes]:
    """Check the names within an archive, and read what it holds besides chats."""
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    with _reading(), zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        _check_names(members)
        if MANIFEST not in archive.namelist():
            return {}
        for member in members:
            path = PurePosixPath(member.filename)
            is_besides = len(path.parts) > 1 and path.parts[0] in BESIDES and not member.is_dir()
            if is_besides and not _is_own_chat(path) and not EXPORT.fullmatch(path.name):
                files[str(path)] = _read(archive, member, left)
                left -= len(files[str(path)])
    return files


def _is_own_chat(path: PurePosixPath) -> bool:
    return path.parent == PurePosixPath(CHATS) and path.suffix == ".json"


@contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever a broken zip makes its reader raise into a StorageError."""
    try:
        yield
    except UNREADABLE:
        raise StorageError("the archive is damaged, or of a kind that can't be read") from None


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
    """Read a member, whatever its header says of its size."""
    with archive.open(member) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise StorageError(f"unpacked, it is larger than {MOST_BYTES // 2**20} MB")
    return text
