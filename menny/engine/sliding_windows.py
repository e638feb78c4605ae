"""Which layers of a model see a window, and which see everything, as configs tell it.

The hub's Ministral lists its layers' types. The reference lists windows, a pattern that repeats over the layers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from menny.errors import ModelError

_LAYER_TYPES = ("sliding_attention", "full_attention")


def windows(config: Mapping[str, Any], count: int | None, path: Path) -> dict[str, Any]:
    """`sliding_window`, one at most, and `windowed_layers`: which of `count` layers have it, None where all have."""
    key = "_sliding_window" if config.get("sliding_window") is None else "sliding_window"  # some of the reference's
    window, types = config.get(key), config.get("layer_types")
    told: list[bool] = [True]
    if isinstance(window, list):
        if not window or count is None or count % len(window):
            raise ModelError(f"{path}: {key} is a pattern of {len(window)} layers, which {count} layers can't repeat")
        told = [one is not None for one in window] * (count // len(window))
        sizes = [one for one in window if one is not None]
        if any(size != sizes[0] for size in sizes):
            raise ModelError(f"{path}: {key} names several windows, but only one, beside none at all, is supported")
        window = sizes[0] if sizes else None
    elif types is not None:
        if not isinstance(types, list) or len(types) != count or not all(one in _LAYER_TYPES for one in types):
            raise ModelError(f"{path}: layer_types should say {' or '.join(_LAYER_TYPES)} for each of {count} layers")
        told = [one == _LAYER_TYPES[0] for one in types]
        if any(told) and window is None:
            raise ModelError(f"{path}: layer_types names {_LAYER_TYPES[0]}, but sliding_window doesn't say how far")
    return {
        "sliding_window": window if any(told) else None,
        "windowed_layers": None if all(told) or not any(told) else tuple(told),
    }
