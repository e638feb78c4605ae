"""Verification: the logits of a text in one pass, in chunks and token by token must be the same.

The counterpart of the reference implementation's test_generate, for any model. A difference beyond rounding shows a
mask, a cache or a position that is wrong.
"""

from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from menny.engine.cache import BLOCK
from menny.engine.checkpoints.load import load_model
from menny.engine.model import Mistral
from menny.errors import EngineError

EXACT, COARSE = 1e-3, 3e-2  # tolerances for float32, and for half precision
BEYOND = 8  # tokens after the window's wrap, or after a growth of the cache
SINGLE = 16  # tokens one by one at either end: the last of them cross the wrap, or the growth
FEW = 128  # tokens up to which small chunks, and all one by one, don't take long


@dataclass(frozen=True)
class Difference:
    """The largest difference from one pass: of a logit, and as a share of the largest logit."""

    way: str
    largest: float
    relative: float


@dataclass(frozen=True)
class Verification:
    """The comparison of all ways; `tolerance` is for the relative differences."""

    tokens: int
    sliding_window: int | None
    largest_logit: float
    tolerance: float
    differences: list[Difference]
    agrees: bool


def verify(path: str | Path, tolerance: float | None = None, n_tokens: int | None = None) -> Verification:
    """Compare the logits of the model at this path. Raises ModelError, or EngineError for a wrong argument."""
    if tolerance is not None and not tolerance > 0:
        raise EngineError(f"tolerance is {tolerance:g}, but must be above 0")
    return verify_model(load_model(path), tolerance, n_tokens)


def verify_model(model: Mistral, tolerance: float | None = None, n_tokens: int | None = None) -> Verification:
    """Compare the logits of `n_tokens` random tokens; by default enough of them to cross a window's wrap."""
    window, context = model.args.sliding_window, model.args.max_position_embeddings
    length = min(_enough(window), context) if n_tokens is None else n_tokens
    if not 2 <= length <= context:
        raise EngineError(f"{length} tokens can't be compared: the model takes from 2 to {context}.")
    tokens = mx.array(np.random.default_rng(0).integers(0, model.args.vocab_size, (1, length)), mx.int32)
    expected = _numbers(model(tokens)[0])
    scale = float(np.abs(expected).max())
    if tolerance is None:
        tolerance = EXACT if model.norm.weight.dtype == mx.float32 else COARSE
    differences = []
    for way, chunks in ways(length, window).items():
        largest = _largest_difference(model, tokens, chunks, expected)
        differences.append(Difference(way, largest, largest / scale if scale else largest))
    agrees = all(difference.relative <= tolerance for difference in differences)  # NaN doesn't
    return Verification(length, window, scale, tolerance, differences, agrees)


def ways(length: int, window: int | None) -> dict[str, list[int]]:
    """The ways to compute `length` tokens, by name, as the lengths of their chunks."""
    sizes = [3, 7, 50] if length <= FEW else [50]
    if window is not None:
        sizes += [window - 1, window, window + 1]
    sizes += [length // 2 + 1]
    by_name = {f"chunks of {size}": _chunks(length, size) for size in sorted(set(sizes)) if 1 < size < length}
    if length <= FEW:
        return by_name | {"token by token": [1] * length}
    middle = length - 2 * SINGLE
    return by_name | {f"token by token, the first and last {SINGLE}": [1] * SINGLE + [middle] + [1] * SINGLE}


def _enough(window: int | None) -> int:
    return BLOCK + BEYOND if window is None else max(window + BEYOND, FEW)


def _chunks(length: int, size: int) -> list[int]:
    return [min(size, length - start) for start in range(0, length, size)]


def _largest_difference(model: Mistral, tokens: mx.array, chunks: list[int], expected: np.ndarray) -> float:
    """The largest difference of these chunks' logits from the expected ones [1, L, V]; NaN where one is NaN."""
    cache, start, largest = model.make_cache(), 0, 0.0
    for size in chunks:
        logits, cache = model(tokens[:, start : start + size], cache)
        difference = np.abs(_numbers(logits) - expected[:, start : start + size]).max()
        largest = float(np.maximum(largest, difference))
        start += size
    return largest


def _numbers(logits: mx.array) -> np.ndarray:
    return np.array(logits.astype(mx.float32))
