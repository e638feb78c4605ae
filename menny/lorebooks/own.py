"""The user's own lorebooks: a folder of files, read again only where one of them changed."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from menny.config.yaml_models import yaml_files
from menny.errors import ConfigError, MennyError, StorageError
from menny.files import file_id, file_name, lock_folder, make_folder, read_file, write_atomic
from menny.lorebooks.files import MAX_BYTES, load_lorebook, load_lorebooks, own_folder, parse_lorebook, save_lorebook
from menny.lorebooks.lorebook import Lorebook

FOLDER = "lorebooks"  # in an archive

Stamp = tuple[int, int]


class OwnLorebooks:
    """The lorebooks of a folder, by default the user's own. Several threads may use one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder
        self._lock = Lock()
        self._seen: dict[Path, Stamp] = {}
        self._read: dict[Path, tuple[Stamp, Lorebook]] = {}
        self._found: tuple[dict[str, Lorebook], list[ConfigError]] = {}, []

    @property
    def folder(self) -> Path:
        """Where they are kept; the folder needn't be there."""
        return self._given or own_folder()

    def load(self) -> tuple[dict[str, Lorebook], list[ConfigError]]:
        """Return the lorebooks by their ids, and an error for every file that can't be used."""
        with self._lock:
            seen = {path: stamp for path in self._paths() if (stamp := _stamp(path))}
            if seen != self._seen or not seen:
                self._read = {path: kept for path, kept in self._read.items() if path in seen}
                self._found = load_lorebooks(self.folder, self._load)
                self._seen = seen
            return self._found

    def path_of(self, book_id: str) -> Path | None:
        """Return a lorebook's file; None where there isn't one."""
        return next((path for path in self._paths() if path.stem == book_id), None)

    def keep(self, book: Lorebook, book_id: str = "", name: str = "") -> str:
        """Write a lorebook; return its id. Without one it is a new file, called after `name` or the book.

        Raises StorageError.
        """
        chosen = book_id or file_id(name or book.name, {path.stem for path in self._paths()}, "lorebook")
        save_lorebook(self.path_of(chosen) or self.folder / f"{chosen}.yaml", book)
        return chosen

    def delete(self, book_id: str) -> Callable[[], None]:
        """Delete a lorebook; the function that is returned puts it back."""
        path = self.path_of(book_id)
        if path is None:
            raise ConfigError("This lorebook's file has already been deleted.")
        try:
            data = read_file(path)
            path.unlink()
        except OSError as error:
            raise StorageError(f"{file_name(path)} can't be deleted ({error.strerror}).") from None
        return lambda: self._put(path, data)

    def to_archive(self) -> dict[str, bytes]:
        """Return the files by their names in an archive."""
        return {f"{FOLDER}/{path.stem}.yaml": read_file(path) for path in self._paths() if path.is_file()}

    @contextmanager
    def from_archive(self, files: Mapping[str, bytes]) -> Iterator[list[str]]:
        """Put back the lorebooks that aren't here; yields their ids.

        None is kept where one is broken or the block fails.
        """
        found = [_from_archive(name, data) for name, data in files.items() if name.startswith(f"{FOLDER}/")]
        kept: list[str] = []
        try:
            for book_id, data in found:
                if self.path_of(book_id) is None:
                    self._put(self.folder / f"{book_id}.yaml", data)
                    kept.append(book_id)
            yield kept
        except MennyError:
            for book_id in kept:
                self.delete(book_id)
            raise

    def _put(self, path: Path, data: bytes) -> None:
        try:
            make_folder(path.parent)
            with lock_folder(path.parent):
                if path.exists():
                    raise ConfigError(f"{file_name(path)} already exists.")
                write_atomic(path, data)
        except OSError as error:
            raise StorageError(f"{file_name(path)} can't be written ({error.strerror}).") from None

    def _paths(self) -> list[Path]:
        try:
            return yaml_files(self.folder)
        except OSError:
            return []

    def _load(self, path: Path) -> Lorebook:
        stamp = _stamp(path)
        kept = self._read.get(path)
        if kept is None or kept[0] != stamp:
            kept = stamp or (0, 0), load_lorebook(path)
            self._read[path] = kept
        return kept[1]


def books_for(books: Mapping[str, Lorebook], chosen: Iterable[str]) -> dict[str, Lorebook]:
    """Return the books of a chat: those that are chosen for it, and those that are for all chats."""
    ids = set(chosen)
    return {book_id: book for book_id, book in books.items() if book_id in ids or book.everywhere}


def missing_books(books: Mapping[str, Lorebook], chosen: Iterable[str]) -> list[str]:
    """Return the ids that are chosen and that no book has."""
    return [book_id for book_id in dict.fromkeys(chosen) if book_id not in books]


def _stamp(path: Path) -> Stamp | None:
    """A value that differs once a file has changed; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _from_archive(name: str, data: bytes) -> tuple[str, bytes]:
    """A lorebook of an archive, checked: its id and its file."""
    is_name = re.fullmatch(rf"{FOLDER}/(\w[\w .-]{{0,79}})\.yaml", name)
    if not is_name or len(data) > MAX_BYTES:
        raise ConfigError(f"{name} in the archive isn't the file of a lorebook. Nothing was imported.")
    try:
        parse_lorebook(data, name)
    except ConfigError as error:
        raise ConfigError(f"{error} Nothing was imported.") from None
    return is_name[1], data
