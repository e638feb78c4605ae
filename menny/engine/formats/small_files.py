"""A model's small files, vocabularies and JSON, read whole and within bounds; errors are sentences."""

from pathlib import Path
from typing import Any

from menny.errors import ModelError
from menny.model_files import MAX_CONFIG_BYTES, parse_json

MAX_FILE_BYTES = 64 << 20  # of a vocabulary; the largest known have 35 MB


def read_bytes(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's content. Raises ModelError for one that is missing, empty, no regular file or too large.

    The kind of file is checked before it is opened: opening a pipe would wait for its writer.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path} is missing: get the whole model.", file=path)
        if not path.is_file():
            raise ModelError(f"{path} can't be read: it is not a file. Get the whole model.", file=path)
        size = path.stat().st_size
        if size == 0:
            raise unreadable(path, "it is empty")
        if size > most:
            raise unreadable(path, f"it is larger than {most >> 20} MiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelError(f"{str(path)!r} can't be read: {reason}.", file=path) from error


def read_json(path: Path, most: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file of at most `most` bytes. Raises ModelError for any other."""
    data = read_bytes(path, most)
    try:
        value = parse_json(data)
    except ValueError as error:
        raise unreadable(path, str(error)) from error
    if not isinstance(value, dict):
        raise unreadable(path, f"it doesn't hold a JSON object, but a {type(value).__name__}")
    return value


def read_config(path: Path) -> dict[str, Any]:
    """Return the object in a config, whose size has a narrower bound than a vocabulary's."""
    return read_json(path, MAX_CONFIG_BYTES)


def unreadable(path: Path, what: str) -> ModelError:
    """The error for a file that isn't what its name says."""
    return ModelError(f"{path} can't be used: {what}. Download it again, or choose another model.", file=path)
