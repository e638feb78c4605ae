"""The layers of a model that see a sliding window, read from its config.

The hub's Ministral lists its layers' types. The reference lists windows, a pattern that repeats over the layers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from menny.errors import ModelError

_LAYER_TYPES = ("sliding_attention", "full_attention")


def windows(config: Mapping[str, Any], count: int | None, path: Path) -> dict[str, Any]:
    """Read `sliding_window`, and `windowed_layers`: a flag for each of `count` layers, None where all have it."""
    key = "_sliding_window" if config.get("sliding_window") is None else "sliding_window"  # the reference has either
    window, types = config.get(key), config.get("layer_types")
    windowed: list[bool] = [True]
    if isinstance(window, list):
        if not window or count is None or count % len(window):
            raise ModelError(
                f"{path}: {key} is a pattern of {len(window)} layers, which {count} layers can't repeat.", file=path
            )
        windowed = [one is not None for one in window] * (count // len(window))
        sizes = [one for one in window if one is not None]
        if any(size != sizes[0] for size in sizes):
            raise ModelError(f"{path}: {key} names several windows, but only one size is supported.", file=path)
        window = sizes[0] if sizes else None
    elif types is not None:
        if not isinstance(types, list) or len(types) != count or not all(one in _LAYER_TYPES for one in types):
            raise ModelError(
                f"{path}: layer_types should say {' or '.join(_LAYER_TYPES)} for each of {count} layers.", file=path
            )
        windowed = [one == _LAYER_TYPES[0] for one in types]
        if any(windowed) and window is None:
            raise ModelError(
                f"{path}: layer_types names {_LAYER_TYPES[0]}, but sliding_window doesn't say how far.", file=path
            )
    return {
        "sliding_window": window if any(windowed) else None,
        "windowed_layers": None if all(windowed) or not any(windowed) else tuple(windowed),
    }
