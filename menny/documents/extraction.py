"""PDF and Word documents read in a process of its own, which is ended where it takes too long or too much."""

import json
import subprocess
import sys
from contextlib import suppress

from menny.config.paths import PROJECT
from menny.documents.kinds import Kind
from menny.documents.limits import MOST_SECONDS
from menny.errors import DocumentError

WAIT = MOST_SECONDS + 10  # seconds: a busy machine starts a process slowly

_TOO_MUCH = "takes too long or too much memory to read. Save it as plain text and attach that."


def extract(kind: Kind, data: bytes, most_characters: int) -> str:
    """Return a document's text, a little more than `most_characters` of it at most.

    Raises DocumentError with the rest of a sentence that begins with the file's name.
    """
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "menny.documents", kind, str(most_characters)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            answer, _ = process.communicate(data, timeout=WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise DocumentError(_TOO_MUCH) from None
    if process.returncode:
        raise DocumentError(_TOO_MUCH)
    found = None
    with suppress(ValueError):
        found = json.loads(answer)
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        raise DocumentError(str(found["error"]) if isinstance(found, dict) and "error" in found else _TOO_MUCH)
    return str(found["text"])
