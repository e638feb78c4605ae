"""The command that starts Menny where a message is read: `menny …` for who started it so, else `python -m menny …`."""

import shlex
import shutil
import sys
from pathlib import Path

from menny.config.paths import PROJECT


def command(*words: str) -> str:
    """Return a command of Menny's as it can be typed here, from the folder that Menny was started in."""
    started = Path(sys.argv[0])
    if started.stem == "menny":
        is_found = shutil.which("menny") is not None
        return shlex.join(["menny" if is_found else str(started), *words])
    return shlex.join([tool("python"), "-m", "menny", *words])


def tool(name: str) -> str:
    """Return the command for a program of this Python's environment, from the project's folder."""
    place = Path(sys.executable).with_name(name)
    if not place.exists():
        return name
    return str(place.relative_to(PROJECT)) if place.is_relative_to(PROJECT) else str(place)


def project_file(name: str) -> str:
    """Return the name of a file in the project's folder, which is whole where Menny is installed as a package."""
    is_installed = not (PROJECT / "menny").is_dir()
    return str(PROJECT / name) if is_installed else name
