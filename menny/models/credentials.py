"""The keys of servers: from the environment, or the system's keyring; never in a file of ours."""

import os

import keyring
from keyring.errors import KeyringError

from menny.errors import ConfigError

SERVICE = "menny"


def key_of(address: str, variable: str | None) -> str | None:
    """Return a server's key, from the variable that its entry names, else from the keyring, if it is there.

    Raises ConfigError where the named variable isn't set.
    """
    if variable:
        if key := os.environ.get(variable, "").strip():  # a file's last line end comes along with it easily
            return key
        raise ConfigError(f"{address} needs the key in {variable}, which isn't set: set it, and start Menny again.")
    try:
        return keyring.get_password(SERVICE, address)
    except Exception:  # a system without one, or with one that is set up badly, keeps no keys
        return None


def keep_key(address: str, key: str) -> None:
    """Keep a server's key in the keyring. Raises ConfigError on a system that has none."""
    try:
        keyring.set_password(SERVICE, address, key)
        if keyring.get_password(SERVICE, address) != key:
            raise KeyringError
    except Exception:  # whatever the system's keyring raises
        raise ConfigError(
            "This system has no keyring to keep the key in: put it into an environment variable, and name that."
        ) from None
