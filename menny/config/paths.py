"""The folders: the project's own files, and what Menny keeps for its user."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path

from menny.files import remove_unfinished, shown_path

PACKAGE = Path(__file__).resolve().parents[1]
# What isn't code (configs, images, app.py) lies beside the package, or in it where it was installed by pip.
PROJECT = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent
CONFIGS = PROJECT / "configs"
START = PACKAGE / "start" if (PACKAGE / "start").is_dir() else PROJECT  # app.py, and Streamlit's settings beside it
LONGEST_NAME = 200  # characters that a path below the home must have room for
NOWHERE = Path(os.devnull) / "menny"  # stands for a home that can't be: nothing is there, and nothing can be put there


def home() -> Path:
    """The folder for what belongs to the user: `MENNY_HOME`, or the system's folder for a user's data.

    A folder that can't exist where `home_error` says why `MENNY_HOME` names none.
    """
    chosen = _chosen_home()
    return chosen if _is_usable(chosen) else NOWHERE


def home_error() -> str:
    """A sentence on why nothing can be kept in the home; empty where it can be used, or made."""
    chosen = _chosen_home()
    name = "MENNY_HOME" if os.environ.get("MENNY_HOME") else "The folder for Menny's data"
    path = shown_path(chosen)
    if not _is_utf8(chosen):
        return f"{name} is {path}, which isn't UTF-8 text: choose a folder with another name."
    if not _is_usable(chosen):
        return f"{name} is longer than this system allows for a path: choose a shorter one."
    if os.path.lexists(chosen) and not os.path.isdir(chosen):
        return f"{name} is {path}, which isn't a folder: choose another one, or move what is there."
    try:
        os.scandir(chosen).close()
        os.lstat(chosen / "chats.db")
    except PermissionError:
        return f"{name} is {path}, which Menny isn't allowed to read: change its permissions, or choose another one."
    except OSError:  # it isn't there yet, and whoever writes there says why it can't be made
        return ""
    return ""


def remove_unfinished_files() -> None:
    """Delete what a Menny that was killed left half written in the home; for the start of a process."""
    with suppress(OSError):
        remove_unfinished([home(), *(path for path in home().iterdir() if path.is_dir())])


def keep_kernels() -> None:
    """Have what is compiled for this processor kept in the home, by the name that Numba has for it."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(home() / "cache"))


def chat_caches_folder() -> Path:
    """The folder for the caches of chats, with which they go on at once after a restart."""
    return home() / "cache" / "chats"


def models_folder() -> Path:
    """The folder for the user's own models."""
    return home() / "models"


def own_models_file() -> Path:
    """The user's own entries of the catalogue."""
    return home() / "models.yaml"


def _chosen_home() -> Path:
    chosen = os.environ.get("MENNY_HOME")
    return Path(os.path.expanduser(chosen)) if chosen else user_data_path("menny", appauthor=False)


def _is_usable(folder: Path) -> bool:
    """Return true where a folder of this name can exist and be shown."""
    try:
        os.lstat(folder / ("x" * LONGEST_NAME))
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG and _is_utf8(folder)
    return _is_utf8(folder)


def _is_utf8(path: Path) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in str(path))
