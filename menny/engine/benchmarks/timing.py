"""Timing of replies, shared by bench.py and reuse_and_lookup.py."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from menny.engine.benchmarks.baseline import Generate
from menny.engine.sampling import SamplingParams
from menny.engine.worker import Engine


@dataclass(frozen=True)
class Timing:
    """A timed reply: seconds from the request to its first and to its last token."""

    first: float
    last: float
    tokens: tuple[int, ...]
    prefill_tps: float
    times: tuple[float, ...]  # of the tokens, by time.perf_counter

    @property
    def longest_pause(self) -> float:
        """The most seconds between two tokens."""
        return max((later - earlier for earlier, later in pairwise(self.times)), default=0.0)

    @property
    def decode_tps(self) -> float:
        """Tokens a second after the first; 0 for a single token."""
        return (len(self.tokens) - 1) / (self.last - self.first) if len(self.tokens) > 1 else 0.0


def random_prompts(vocab_size: int, length: int, seed: int = 0) -> Iterator[list[int]]:
    """Yield prompts of random tokens, the same ones every time."""
    random = np.random.default_rng(seed)
    while True:
        yield random.integers(0, vocab_size, length).tolist()


def plain(new_tokens: int) -> SamplingParams:
    """Parameters for plain decoding: greedy, one token a pass, no end of turn, so that only the speed matters."""
    return SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True, lookup=False)


def plainly(engine: Engine) -> Generate:
    """The engine as a function from a prompt to plain tokens."""

    def generate(prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
        for chunk in engine.stream(prompt, plain(new_tokens)):
            if chunk.token is not None:
                yield chunk.token

    return generate


def timed(tokens: Iterable[int], prompt_tokens: int) -> Timing:
    """Time a reply from now on."""
    began = time.perf_counter()
    received: list[int] = []
    times: list[float] = []
    for token in tokens:
        received.append(token)
        times.append(time.perf_counter())
    first = times[0] if times else began
    last = time.perf_counter() - began
    return Timing(first - began, last, tuple(received), prompt_tokens / (first - began), tuple(times))
