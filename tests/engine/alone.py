"""Requests computed by themselves, without a scheduler: what replies in company are compared with."""

from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import mlx.core as mx

from menny.engine import Chunk, SamplingParams
from menny.engine import generate as generating
from menny.engine.cache import Cache
from menny.engine.passes import Pass
from menny.engine.runtime import RequestControl, Runtime

T = TypeVar("T")


def generate(
    runtime: Runtime, prompt: Sequence[int], params: SamplingParams, control: RequestControl | None = None
) -> Iterator[Chunk]:
    """The chunks of a reply."""
    return each(runtime.model, generating.generate(runtime, prompt, params, control))


def prefill(model: Any, tokens: mx.array, cache: Cache) -> Iterator[int]:
    """How many tokens are in the cache, after each chunk."""
    return each(model, generating.prefill(tokens, cache))


def each(model: Any, values: AsyncGenerator[T]) -> Iterator[T]:
    """What an asynchronous generator yields, every pass that it awaits being computed at once."""
    while True:
        try:
            yield result(model, values.__anext__())
        except StopAsyncIteration:
            return


def result(model: Any, work: Coroutine[Pass | None, Any, T]) -> T:
    """What a coroutine returns."""
    logits = None
    while True:
        try:
            wanted = work.send(logits)
        except StopIteration as end:
            return end.value
        logits = wanted.compute(model) if wanted else None
