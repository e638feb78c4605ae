"""The one tree of errors: what a user, a file or a machine can cause, in a sentence that says what to do."""

import reprlib
from pathlib import Path

LONGEST_ERROR = 2000  # characters of a sentence: a file may name things at any length
LONGEST_QUOTE = 80  # characters of a value that a sentence quotes


def quoted(value: object, longest: int = LONGEST_QUOTE) -> str:
    """Return a value as a sentence quotes it: its repr, cut after `longest` characters."""
    if isinstance(value, str):
        return repr(value if len(value) <= longest else value[: longest - 1] + "…")
    try:
        text = reprlib.repr(value)
    except ValueError:  # an integer with more digits than Python writes
        return "a number too large to show"
    return text if len(text) <= longest else text[: longest - 1] + "…"


class MennyError(Exception):
    """An error to show to the user. The message is one clear sentence: what is wrong and what to do.

    `file` is the file that it is about, None where it is about none. A longer message than LONGEST_ERROR is cut.
    """

    exit_code = 2

    def __init__(self, message: str = "", *, file: Path | None = None) -> None:
        super().__init__(message if len(message) <= LONGEST_ERROR else message[: LONGEST_ERROR - 1] + "…")
        self.file = file


class ConfigError(MennyError):
    """A YAML file that can't be used; names the file, and the key and line where there is one."""


class ModelError(MennyError):
    """A model folder, weight file or vocabulary that can't be used; names the file, and the key where there is one."""


class TooLargeError(ModelError):
    """A model that needs more memory than the machine can give: `needed` bytes, where there is `room` for fewer."""

    def __init__(self, message: str, needed: int, room: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.room = room


class PromptError(MennyError):
    """A conversation that can't be put to the model."""


class PromptTooLongError(PromptError):
    """A prompt that doesn't fit the context; `tokens` of `limit` were asked for."""

    def __init__(self, message: str, tokens: int, limit: int) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit


class WithheldError(PromptError):
    """A message that moderation keeps from being sent."""


class DocumentError(MennyError):
    """A file that can't be attached to a message."""


class StorageError(MennyError):
    """The store of conversations can't be read or written."""


class FileChangedError(StorageError):
    """A file that has changed since it was read; nothing has been written."""


class EngineError(MennyError):
    """The engine couldn't go on with a reply; it lives on and takes the next one."""


class PipelineError(EngineError):
    """Another of the machines that share a model is gone: nothing more can be computed."""
