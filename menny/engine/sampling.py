"""From logits to a token: pure functions over logits [B, V], and their parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx

from menny.errors import EngineError


@dataclass(frozen=True)
class SamplingParams:
    """The parameters of a reply. The defaults leave the model's distribution as it is, but for the temperature.

    Raises EngineError, naming the parameter and its range.
    """

    temperature: float = 0.7  # 0: always the most likely token
    max_tokens: int = 256  # the longest reply
    top_p: float = 1.0  # keep the most likely tokens that together have this probability; 1: all
    top_k: int = 0  # keep this many of the most likely tokens; 0: all
    min_p: float = 0.0  # keep tokens with at least this share of the highest probability; 0: all
    repetition_penalty: float = 1.0  # above 1, recent tokens become less likely; 1: off
    repetition_context: int = 64  # the number of recent tokens
    seed: int | None = None  # the same seed gives the same reply; None: a new one each time
    stop: Sequence[str] = ()  # texts that end the reply and are left out of it
    lookup: bool = True  # speculative decoding by prompt lookup, where that is faster; the reply is the same
    ignore_eos: bool = False  # go on after the end of turn, up to max_tokens: for benchmarks
    thinking: bool | None = None  # whether a server's model thinks before it answers; None: as the server has it
    background: bool = False  # give way to replies that are watched
    keep_cache: bool = False  # the conversation's cache may be kept in a file (cache_files.py)

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stop, Sequence) or not all(isinstance(text, str) and text for text in stop):
            raise EngineError(f"stop is {stop!r}, but must be a list of texts that aren't empty")
        object.__setattr__(self, "stop", tuple(stop))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise EngineError(f"{name} is {value!r}, but must be from {low} to {high}")
        for name in ("max_tokens", "top_k", "repetition_context"):
            if not isinstance(getattr(self, name), int):
                raise EngineError(f"{name} is {getattr(self, name)!r}, but must be a whole number")
        for name in ("lookup", "ignore_eos", "background", "keep_cache"):
            if not isinstance(getattr(self, name), bool):
                raise EngineError(f"{name} is {getattr(self, name)!r}, but must be true or false")
        if self.seed is not None and (type(self.seed) is not int or not 0 <= self.seed < 1 << 64):
            raise EngineError(f"seed is {self.seed!r}, but must be a whole number from 0 to 2^64 - 1, or none")


_RANGES = (
    ("temperature", 0, 10),
    ("max_tokens", 1, 1 << 30),
    ("top_p", 0, 1),
    ("top_k", 0, 1 << 30),
    ("min_p", 0, 1),
    ("repetition_penalty", 0.01, 10),
    ("repetition_context", 0, 1 << 30),
)


_64_BITS = (1 << 64) - 1
COLDEST = 1e-30  # a lower temperature would be 0 in float32
NOT_A_NUMBER = -1  # stands for a token where the logits weren't numbers

Sampler = Callable[[mx.array, int, int], mx.array]


def make_sampler(params: SamplingParams, vocab_size: int) -> Sampler:
    """Make the function (logits [1, L, V], a place in L, random key of key_at) → token [1, 1].

    It is NOT_A_NUMBER where there is NaN or infinity. A model's output may be padded beyond `vocab_size`.
    """

    def choose(logits: mx.array, place: int, key: int) -> mx.array:
        row = logits[0, place : place + 1, :vocab_size]
        finite = mx.isfinite(mx.sum(row.astype(mx.float32), axis=-1))  # neither NaN nor infinity among them
        token = mx.argmax(row, axis=-1) if params.temperature == 0 else sample(row, mx.random.key(key), params)
        return mx.where(finite, token.astype(mx.int32), NOT_A_NUMBER)[None]

    return choose


def sample(logits: mx.array, key: mx.array, params: SamplingParams) -> mx.array:
    """Draw a token [B] from logits [B, V], after the temperature and the filters, in the order top_k, top_p, min_p."""
    logits = logits.astype(mx.float32)
    logits = (logits - mx.max(logits, axis=-1, keepdims=True)) / max(params.temperature, COLDEST)  # can't overflow
    if 0 < params.top_k < logits.shape[-1]:
        logits = keep_top_k(logits, params.top_k)
    if params.top_p < 1:
        logits = keep_top_p(logits, params.top_p)
    if params.min_p > 0:
        logits = keep_min_p(logits, params.min_p)
    return mx.random.categorical(logits, key=key)


def key_at(seed: int, position: int) -> int:
    """The random key of the draw of the token at a position: a whole number of 64 bits.

    It depends on nothing else, so a reply is the same whichever passes it was computed by. Seed and position are mixed
    as by SplitMix64 (Steele et al., 2014), whose neighbouring outputs have nothing in common.
    """
    mixed = (seed + (position + 1) * 0x9E3779B97F4A7C15) & _64_BITS
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return mixed ^ (mixed >> 31)


def keep_top_k(logits: mx.array, k: int) -> mx.array:
    """Keep the k most likely tokens, and those as likely as the k-th."""
    kth = mx.min(mx.topk(logits, k, axis=-1), axis=-1, keepdims=True)
    return mx.where(logits < kth, -mx.inf, logits)


def keep_top_p(logits: mx.array, p: float) -> mx.array:
    """Nucleus sampling (Holtzman et al., 2019): keep the fewest most likely tokens that reach p."""
    order = mx.argsort(-logits, axis=-1)
    ranked = mx.softmax(mx.take_along_axis(logits, order, axis=-1), axis=-1, precise=True)
    before = mx.cumsum(ranked, axis=-1) - ranked  # the probability of all more likely tokens
    ruled_out = (before >= p) & (mx.arange(logits.shape[-1]) > 0)
    places = mx.put_along_axis(mx.zeros(logits.shape, mx.bool_), order, ruled_out, axis=-1)
    return mx.where(places, -mx.inf, logits)


def keep_min_p(logits: mx.array, p: float) -> mx.array:
    """Keep tokens whose probability is at least p times the highest one (Nguyen et al., 2024)."""
    floor = mx.max(logits, axis=-1, keepdims=True) + mx.log(mx.array(p))
    return mx.where(logits < floor, -mx.inf, logits)


def followed_by(recent: mx.array, token: mx.array, count: int) -> mx.array:
    """The last `count` of recent tokens [N] and the next one [1, 1]."""
    return mx.concatenate([recent, token[0]])[-count:]


def penalise_repetition(logits: mx.array, place: int, recent: mx.array, penalty: float) -> mx.array:
    """The logits [1, 1, V] at a place of [1, L, V], with recent tokens [N] less likely.

    Positive logits shrink, negative ones grow (CTRL, Keskar et al., 2019).
    """
    row = logits[0, place]
    chosen = row[recent]
    row[recent] = mx.where(chosen > 0, chosen / penalty, chosen * penalty)
    return row[None, None]
