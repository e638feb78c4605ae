"""Attention of one query, and rotary embeddings, for a few tokens at a time.

Legend of shapes: D head_dim, T tokens that are seen.
"""

from typing import Any

import numpy as np

from menny.engine.cpu.activations import exp
from menny.engine.cpu.compiling import maths


@maths
def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, neighbours: bool, scale: Any, out: np.ndarray) -> None:
    """Turn every pair of dimensions, neighbours or half a head apart: (a cos - b sin, a sin + b cos)."""
    half = len(x) // 2
    for pair in range(half):
        first = 2 * pair if neighbours else pair
        second = first + 1 if neighbours else pair + half
        a, b = x[first] * scale, x[second] * scale
        out[first] = a * cos[pair] - b * sin[pair]
        out[second] = a * sin[pair] + b * cos[pair]


@maths
def attend(q: np.ndarray, keys: np.ndarray, values: np.ndarray, scores: np.ndarray, out: np.ndarray) -> None:
    """out = Σₜ softmaxₜ(q · kₜ) vₜ, for a query [D] that is scaled already; keys and values [T, D]."""
    seen, dim = keys.shape
    most = np.float32(-np.inf)
    for token in range(seen):
        score = np.float32(0)
        for place in range(dim):
            score += q[place] * keys[token, place]
        scores[token] = score
        most = max(most, score)
    for token in range(seen):
        scores[token] = exp(scores[token] - most)
    total = np.float32(0)
    for place in range(dim):
        out[place] = np.float32(0)
    for token in range(seen):
        weight = scores[token]
        total += weight
        for place in range(dim):
            out[place] += weight * values[token, place]
    for place in range(dim):
        out[place] /= total
