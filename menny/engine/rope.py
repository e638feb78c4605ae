"""Rotary embeddings (Su et al., 2021) whose frequencies are scaled for texts longer than a model was first trained on.

A pair of dimensions i of D turns by its position times the inverse frequency theta^(-2i/D). The scalings:

linear  all frequencies divided by a factor (Chen et al., 2023)
llama3  low frequencies divided by the factor, high ones kept, those between blended (Llama 3.1)
yarn    the same by the number of turns within the original context, and sharper attention (Peng et al., 2023)
table   frequencies divided by a table of the file's own, as GGUF files carry llama3's
"""

import math
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

RopeType = Literal["linear", "llama3", "yarn", "table"]


@dataclass(frozen=True)
class RopeScaling:
    """The scaling of rotary frequencies, in the hub's words for `rope_parameters`.

    `attention_factor` multiplies rotated queries and keys alike. `table` divides the frequency of each pair.
    """

    rope_type: RopeType
    factor: float = 1.0
    original_max_position_embeddings: int = 0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    attention_factor: float = 1.0
    table: tuple[float, ...] = ()


@dataclass(frozen=True)
class QueryScaling:
    """The growth of queries with their position: 1 + beta * ln(1 + floor(position / original_max_position_embeddings)).

    The hub's `llama_4_scaling_beta` (Llama 4, Ministral 3); 1 within the original context.
    """

    beta: float
    original_max_position_embeddings: int

    def __call__(self, offset: int, length: int) -> mx.array:
        """Factors [L, 1] of queries at the positions from `offset` on."""
        positions = mx.arange(offset, offset + length, dtype=mx.float32)
        steps = mx.floor(positions / self.original_max_position_embeddings)
        return (1 + self.beta * mx.log(1 + steps))[:, None]


def yarn_attention_factor(factor: float, mscale: float | None = None, mscale_all_dim: float | None = None) -> float:
    """The attention factor of YaRN, from the scales that a config may give; 0.1 ln(factor) + 1 without them."""
    if mscale and mscale_all_dim:
        return _mscale(factor, mscale) / _mscale(factor, mscale_all_dim)
    return _mscale(factor, 1.0)


def _mscale(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def rope_periods(head_dim: int, theta: float, scaling: RopeScaling) -> mx.array:
    """The inverse of each pair's frequency, [D / 2], as `mx.fast.rope` takes them."""
    frequencies = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    match scaling.rope_type:
        case "linear":
            scaled = frequencies / scaling.factor
        case "llama3":
            scaled = _llama3(frequencies, scaling)
        case "yarn":
            scaled = _yarn(frequencies, head_dim, theta, scaling)
        case "table":
            scaled = frequencies / np.array(scaling.table, np.float64)
    return mx.array((1 / scaled).astype(np.float32))


def _llama3(frequencies: NDArray[np.float64], scaling: RopeScaling) -> NDArray[np.float64]:
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)  # within the original context
    smooth = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(smooth, 0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def _yarn(frequencies: NDArray[np.float64], head_dim: int, theta: float, scaling: RopeScaling) -> NDArray[np.float64]:
    def pair_that_turns(times: float) -> float:
        """The dimension pair that turns this many times within the original context."""
        length = scaling.original_max_position_embeddings / (times * 2 * math.pi)
        return head_dim * math.log(length) / (2 * math.log(theta))

    low, high = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    ramp = (np.arange(head_dim // 2) - low) / (high - low if high != low else 0.001)
    kept = 1 - np.clip(ramp, 0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)
