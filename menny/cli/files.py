"""Files that commands read and write, and the one that a few letters of an id stand for."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from menny.errors import ConfigError, MennyError
from menny.files import read_file, write_atomic
from menny.text import close_matches

SHORT_ID = 8  # letters of an id in a list
OPTIONS_AS_IDS = {"ignore_unknown_options": True}  # of a command with an id, which may begin with a dash
FileIn = Annotated[Path, typer.Argument(metavar="FILE", help="The file to read.")]
FileOut = Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; its ending says in what form.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it already exists.")]


def read_given(path: Path, limit: int) -> bytes:
    """Read a file that the user names, a byte more than `limit` at most. Raises ConfigError."""
    try:
        return read_file(Path(os.path.expanduser(path)), limit + 1)
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}: check the path.") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}.") from None


def check_target(
    path: Path, endings: Iterable[str], overwrite: bool, otherwise: str = "choose another name, or add --overwrite."
) -> Path:
    """Return where to write before any work is done. Raises ConfigError for an unknown ending or a file in the way."""
    target, known = Path(os.path.expanduser(path)), list(endings)
    if target.suffix.lower() not in known:
        raise ConfigError(f"{path} must end in {', '.join(known[:-1])} or {known[-1]}, which says in what form it is.")
    if os.path.lexists(target) and not overwrite:
        raise ConfigError(f"{path} already exists: {otherwise}")
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {target.parent}: make it first, or choose another one.")
    return target


def write_given(path: Path, content: bytes) -> None:
    """Write a file that the user names, whole or not at all. Raises ConfigError."""
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}.") from None


def meant(given: str, ids: list[str], what: str, listing: str, error: type[MennyError]) -> str:
    """Return the id that a text is, or is the only one to begin with. Raises `error`, which names the listing."""
    if given in ids:
        return given
    found = [one for one in ids if given and one.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        raise error(f"{len(found)} {what}s have ids that begin with '{given}': give more of the id.")
    close = close_matches(given, ids)
    hint = f"did you mean {close[0]}?" if close else f"`{listing}` lists them."
    raise error(f"There is no {what} with the id '{given}'{';' if close else ':'} {hint}")
