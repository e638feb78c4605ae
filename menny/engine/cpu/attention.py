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
    fours = seen // 4 * 4
    for token in range(0, fours, 4):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for place in range(dim):
            a += q[place] * keys[token, place]
            b += q[place] * keys[token + 1, place]
            c += q[place] * keys[token + 2, place]
            d += q[place] * keys[token + 3, place]
        scores[token], scores[token + 1], scores[token + 2], scores[token + 3] = a, b, c, d
    for token in range(fours, seen):
        score = np.float32(0)
        for place in range(dim):
            score += q[place] * keys[token, place]
        scores[token] = score
    most = np.float32(-np.inf)
    for token in range(seen):
        most = max(most, scores[token])
    for token in range(seen):
        scores[token] = exp(scores[token] - most)
    total = np.float32(0)
    for place in range(dim):
        out[place] = np.float32(0)
    for token in range(seen):
        total += scores[token]
    for token in range(0, fours, 4):
        a, b, c, d = scores[token], scores[token + 1], scores[token + 2], scores[token + 3]
        for place in range(dim):
            first = a * values[token, place] + b * values[token + 1, place]
            out[place] += first + (c * values[token + 2, place] + d * values[token + 3, place])
    for token in range(fours, seen):
        weight = scores[token]
        for place in range(dim):
            out[place] += weight * values[token, place]
    for place in range(dim):
        out[place] /= total
