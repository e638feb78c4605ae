"""The stylesheets and scripts of `menny/ui/static`, which are put into the page."""

import functools

from menny.config.paths import PACKAGE

FOLDER = PACKAGE / "ui" / "static"


@functools.cache
def static_text(name: str) -> str:
    """The text of a file by its name, read once."""
    return (FOLDER / name).read_text(encoding="utf-8")
