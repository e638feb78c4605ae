"""From logits to a token on a processor, in NumPy: the same filters, in the same order, as sampling.py has in MLX.

There they are queued behind a pass, as a graphics card needs it; but MLX's random numbers and sorts take a processor
longer than a small model's whole pass.

Legend of shapes: V vocabulary.
"""

import mlx.core as mx
import numpy as np

from menny.engine.cpu.arrays import in_order
from menny.engine.sampling import COLDEST, NOT_A_NUMBER, Sampler, SamplingParams

_BLOCK = 256  # tokens whose probabilities are summed at once


def make_sampler(params: SamplingParams, vocab_size: int) -> Sampler:
    """Make the function (logits [1, L, V], a place in L, random key) → token [1, 1], as sampling.make_sampler does."""

    def choose(logits: mx.array, place: int, key: int) -> mx.array:
        row = in_order(logits.astype(mx.float32))[0, place, :vocab_size]
        if not (np.isfinite(row.min()) and np.isfinite(row.max())):  # NaN is the least and the largest
            return mx.array([[NOT_A_NUMBER]])
        return mx.array([[int(row.argmax()) if params.temperature == 0 else draw(row, key, params)]])

    return choose


def penalise_repetition(logits: mx.array, place: int, recent: mx.array, penalty: float) -> mx.array:
    """The logits [1, 1, V] at a place of [1, L, V], with recent tokens [N] less likely, as in sampling.py."""
    row, places = in_order(logits.astype(mx.float32))[:, place : place + 1].copy(), in_order(recent)
    chosen = row[0, 0, places]
    row[0, 0, places] = np.where(chosen > 0, chosen / np.float32(penalty), chosen * np.float32(penalty))
    return mx.array(row)


def followed_by(recent: mx.array, token: mx.array, count: int) -> mx.array:
    """The last `count` of recent tokens [N] and the next one [1, 1], which is there already."""
    return mx.array(np.append(in_order(recent), in_order(token))[-count:])


def draw(logits: np.ndarray, key: int, params: SamplingParams) -> int:
    """Draw a token from logits [V], after the temperature and the filters, in the order top_k, top_p, min_p."""
    logits = (logits - logits.max()) / np.float32(max(params.temperature, COLDEST))  # the largest is 0
    tokens = None  # all of them
    if 0 < params.top_k < len(logits):
        tokens = likeliest(logits, params.top_k)
    if params.top_p < 1:
        tokens = nucleus(logits, params.top_p, tokens)
    if params.min_p > 0:
        likely = logits >= np.log(np.float32(params.min_p))
        tokens = np.flatnonzero(likely) if tokens is None else tokens[likely[tokens]]
    weights = np.exp(logits if tokens is None else logits[tokens])
    place = _place_at(weights, (key >> 11) / (1 << 53))
    return place if tokens is None else int(tokens[place])


def likeliest(logits: np.ndarray, k: int) -> np.ndarray:
    """The k likeliest tokens, and those as likely as the k-th: none is below the k-th of the blocks' largest."""
    largest = np.maximum.reduceat(logits, np.arange(0, len(logits), _BLOCK))
    bound = np.partition(largest, -k)[-k] if k <= len(largest) else -np.inf
    candidates = np.flatnonzero(logits >= bound)
    likely = logits[candidates]
    return candidates[likely >= np.partition(likely, -k)[-k]]


def nucleus(logits: np.ndarray, p: float, tokens: np.ndarray | None = None) -> np.ndarray:
    """The fewest of the likeliest tokens that reach p, in the order of their numbers.

    Only those that can be among them are sorted: all that have less than (1 - p) / V together don't have 1 - p.
    """
    shares = np.exp(logits if tokens is None else logits[tokens])
    shares /= shares.sum(dtype=np.float64)
    candidates = np.flatnonzero(shares >= min((1 - p) / len(shares), shares.max()))
    order = candidates[np.argsort(-shares[candidates], kind="stable")]
    before = np.cumsum(shares[order], dtype=np.float64) - shares[order]  # the share of all likelier tokens
    count = max(1, int(np.searchsorted(before, p)))
    kept = np.sort(order[:count])
    return kept if tokens is None else tokens[kept]


def _place_at(weights: np.ndarray, share: float) -> int:
    """The place in a row of weights at which their running sum passes this share of it: a draw, if that's random."""
    starts = np.arange(0, len(weights), _BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts, dtype=np.float64))
    target = share * sums[-1]
    block = int(np.searchsorted(sums, target, side="right"))
    inner = weights[starts[block] : starts[block] + _BLOCK]
    running = np.cumsum(inner, dtype=np.float64)
    place = np.searchsorted(running, target - (sums[block - 1] if block else 0.0), side="right")
    return int(starts[block] + min(place, np.flatnonzero(inner)[-1]))
