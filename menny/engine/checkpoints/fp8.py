"""FP8 weights (E4M3), as Mistral publishes Ministral 3: each matrix times one scale of its own.

The hub's files name the scale weight_scale_inv, the reference's qscale_weight. Scales of activations are left aside, as
activations keep their precision here.
"""

from pathlib import Path

import mlx.core as mx
import numpy as np

from menny.errors import ModelError

WEIGHT_SCALES = (".weight_scale_inv", ".weight_scale", ".qscale_weight")
ACTIVATION_SCALES = (".activation_scale", ".input_scale", ".qscale_act")


def scaled_weight(key: str) -> str | None:
    """Return the key of the weight that a scale belongs to; None for a key that is no scale."""
    ending = next((ending for ending in WEIGHT_SCALES if key.endswith(ending)), None)
    return key.removesuffix(ending) + ".weight" if ending else None


def expand(weight: mx.array, scale: mx.array, dtype: mx.Dtype, file: Path, key: str) -> mx.array:
    """Return FP8 numbers, which MLX reads as bytes, times their scale, whose file and key errors name.

    Raises ModelError for a scale that isn't a single number above 0.
    """
    if scale.size != 1:
        raise ModelError(
            f"{file}: {key} has the shape {scale.shape}, but only one scale a weight is supported.", file=file
        )
    value = float(np.array(scale.astype(mx.float32)).reshape(-1)[0])
    if not 0 < value < float("inf"):
        raise ModelError(f"{file}: {key} is {value}, but a scale must be above 0: get the file again.", file=file)
    dense = (mx.from_fp8(weight, mx.float32) * value).astype(dtype)
    mx.eval(dense)
    return dense
