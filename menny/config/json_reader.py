"""JSON objects from files of other people, measured before they are read."""

import json
import math
from typing import Any

from menny.errors import ConfigError

MAX_DIGITS = 300  # of a number


def read_json_object(data: bytes, what: str, max_bytes: int, max_values: int) -> dict[str, Any]:
    """Read the JSON object in a file; a number that JSON can't say is infinite.

    `what` names it in the ConfigError for one that is too large (a value takes some 100 bytes in memory) or broken.
    """
    if len(data) > max_bytes:
        raise ConfigError(f"{what} is larger than {max_bytes // 1024**2} MB")
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > max_values:
        raise ConfigError(f"{what} has more than {max_values:,} values")
    try:
        text = data.decode("utf-8-sig")
        found = json.loads(text, parse_int=_bounded, parse_constant=lambda _: math.inf, strict=False)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ConfigError(f"{what} isn't valid JSON") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{what} isn't a JSON object")
    return found


def _bounded(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf
