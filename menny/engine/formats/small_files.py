"""A model's small files, vocabularies and JSON, read whole and within bounds; what is wrong with one is a sentence."""

import json
from pathlib import Path
from typing import Any

from menny.errors import ModelError

MAX_FILE_BYTES = 256 << 20


def read_bytes(path: Path) -> bytes:
    """A whole file. Asked for its kind before it is opened: opening a pipe would wait for its writer."""
    try:
        if not path.exists():
            raise ModelError(f"{path} is missing: get the whole model.")
        if not path.is_file():
            raise ModelError(f"{path} can't be read: it is not a file. Get the whole model.")
        size = path.stat().st_size
        if size == 0:
            raise unreadable(path, "it is empty")
        if size > MAX_FILE_BYTES:
            raise unreadable(path, f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelError(f"{str(path)!r} can't be read: {why}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file whose top is an object."""
    data = read_bytes(path)
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise unreadable(path, "it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise unreadable(path, f"line {error.lineno} is not JSON ({error.msg}); it may be cut short") from error
    except (RecursionError, ValueError) as error:
        raise unreadable(path, "its JSON is nested too deeply or holds an impossible number") from error
    if not isinstance(value, dict):
        raise unreadable(path, f"it doesn't hold a JSON object, but a {type(value).__name__}")
    return value


def unreadable(path: Path, what: str) -> ModelError:
    """The error for a file that isn't what its name says."""
    return ModelError(f"{path} can't be used: {what}. Get it again, or choose another model.")
