"""Replies by the clock: what the measurements of bench.py and reuse_and_lookup.py share."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from menny.engine.benchmarks.baseline import Generate
from menny.engine.sampling import SamplingParams
from menny.engine.worker import Engine


@dataclass(frozen=True)
class Timing:
    """One reply by the clock: seconds from asking to its first and to its last token."""

    first: float
    last: float
    tokens: tuple[int, ...]
    prefill_tps: float

    @property
    def decode_tps(self) -> float:
        """Tokens a second after the first; 0 for one token."""
        return (len(self.tokens) - 1) / (self.last - self.first) if len(self.tokens) > 1 else 0.0


def random_prompts(vocab_size: int, length: int, seed: int = 0) -> Iterator[list[int]]:
    """Prompts of random tokens, the same ones every time."""
    random = np.random.default_rng(seed)
    while True:
        yield random.integers(0, vocab_size, length).tolist()


def plain(new_tokens: int) -> SamplingParams:
    """Greedy tokens, each by a pass of its own and none the last: what decoding takes, whatever the model says."""
    return SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True, lookup=False)


def plainly(engine: Engine) -> Generate:
    """The engine as a function from a prompt to plain tokens."""

    def generate(prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
        for chunk in engine.stream(prompt, plain(new_tokens)):
            if chunk.token is not None:
                yield chunk.token

    return generate


def timed(tokens: Iterable[int], prompt_tokens: int) -> Timing:
    """The timing of a reply that is asked for now."""
    began = first = time.perf_counter()
    said: list[int] = []
    for token in tokens:
        said.append(token)
        if len(said) == 1:
            first = time.perf_counter()
    return Timing(first - began, time.perf_counter() - began, tuple(said), prompt_tokens / (first - began))
