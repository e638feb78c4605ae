"""The token for repositories that ask for one, kept in the hub's own place, where other programs find it."""

import logging
from pathlib import Path

from huggingface_hub import constants, get_token

from menny.errors import ConfigError
from menny.files import write_atomic


def has_token() -> bool:
    """Return true where there is a token, in the environment or in the hub's own place."""
    return get_token() is not None


def keep_token(token: str) -> None:
    """Keep a token for all of this user's programs that use the hub, readable by nobody else. Raises ConfigError."""
    token = token.strip()
    if not token.startswith("hf_") or not token.isascii() or any(c.isspace() for c in token):
        raise ConfigError(
            "This isn't a valid Hugging Face token: tokens begin with hf_ and have no spaces. Copy it again."
        )
    place = Path(constants.HF_TOKEN_PATH)
    try:
        write_atomic(place, token.encode())  # a new file, which is its owner's alone
    except OSError as error:
        raise ConfigError(f"The token can't be kept in {place} ({error.strerror}).") from None
    logging.getLogger(__name__).info("A token of the hub was kept")


def forget_token() -> None:
    """Delete the kept token; one in the environment stays."""
    Path(constants.HF_TOKEN_PATH).unlink(missing_ok=True)
