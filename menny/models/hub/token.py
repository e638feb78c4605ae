"""The token for repositories that ask for one. It is kept in the hub's own place, where its other programs find it."""

import logging
import os
from pathlib import Path

from huggingface_hub import constants, get_token

from menny.errors import ConfigError


def has_token() -> bool:
    """Whether there is one, in the environment or in the hub's own place."""
    return get_token() is not None


def keep_token(token: str) -> None:
    """Keep it for all of this user's programs that use the hub, readable by nobody else. Raises ConfigError."""
    token = token.strip()
    if not token.startswith("hf_") or not token.isascii() or any(c.isspace() for c in token):
        raise ConfigError("That is no token of the hub: it begins with hf_ and has no spaces. Copy it once more.")
    place = Path(constants.HF_TOKEN_PATH)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(token)
    except OSError as error:
        raise ConfigError(f"The token can't be kept in {place} ({error.strerror}).") from None
    logging.getLogger(__name__).info("A token of the hub was kept")


def forget_token() -> None:
    """Delete the kept one; one in the environment stays."""
    Path(constants.HF_TOKEN_PATH).unlink(missing_ok=True)
