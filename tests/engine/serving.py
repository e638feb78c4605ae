"""Streams of the scripted engine, for tests of the engine's thread."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest

from menny.engine import Chunk, Engine, Mistral, Progress, SamplingParams, Stream, loader

GREEDY = SamplingParams(temperature=0)
ENDLESS = SamplingParams(temperature=0, max_tokens=1 << 29)  # with a prompt that ends in B


def start(
    engine: Engine, prompt: str, params: SamplingParams = GREEDY, on_progress: Callable[[Progress], None] | None = None
) -> Stream:
    """A stream; a test that waits in vain fails rather than hangs."""
    left = iter(range(3000))

    def impatient(_: Progress) -> None:
        assert next(left, None) is not None, "the engine is taken"

    return engine.stream(engine.tokenizer.encode(prompt), params, on_progress or impatient)


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def say(engine: Engine, prompt: str, **params: Any) -> str:
    """A whole reply."""
    return text(list(start(engine, prompt, SamplingParams(**({"temperature": 0} | params)))))


def begun(stream: Stream) -> Stream:
    """A stream whose reply has begun."""
    assert next(stream).finish_reason is None
    return stream


def caches_made(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """Filled with the caches that are made from now on."""
    return _made(monkeypatch, Mistral, "make_cache")


def models_loaded(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """Filled with the models that engines load from now on."""
    return _made(monkeypatch, loader, "build_model")


def _made(monkeypatch: pytest.MonkeyPatch, maker: Any, name: str) -> list[weakref.ref]:
    refs: list[weakref.ref] = []
    make = getattr(maker, name)

    def noted(*args: Any, **named: Any) -> Any:
        made = make(*args, **named)
        refs.append(weakref.ref(made))
        return made

    monkeypatch.setattr(maker, name, noted)
    return refs
