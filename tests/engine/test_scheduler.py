"""Whatever comes and goes beside it, a reply is the one that it would have been alone."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menny.engine import Chunk, Mistral, MoEArgs, SamplingParams, scoring
from menny.engine import generate as generating
from menny.engine.cache import BLOCK, Cache
from menny.engine.passes import Cancelled
from menny.engine.prefix_cache import PrefixCache
from menny.engine.requests import GenerateWork, Request, ScoreWork
from menny.engine.runtime import RequestControl, Runtime
from menny.engine.scheduler import Row, Scheduler
from tests.engine import alone
from tests.engine.test_decode import VOCABULARY, Eager, Letters
from tests.engine.tiny_models import built, random_weights, tiny_args

KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "window of 8": {"sliding_window": 8},
    "window of 12": {"sliding_window": 12},
    "windows in some blocks": {"sliding_window": 12, "windowed_layers": (True, False)},
    "sparse": {"moe": MoEArgs(num_experts=4, num_experts_per_tok=2)},
}
ARGS = {kind: tiny_args(**changes) for kind, changes in KINDS.items()}
MODELS = {kind: built(args, random_weights(args)) for kind, args in ARGS.items()}
CHUNK = 20  # tokens: more than may share a pass


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (generating, scoring):
        monkeypatch.setattr(module, "PREFILL_CHUNK", CHUNK)


@dataclass
class Told:
    """A request, and what came of it."""

    request: Request
    events: list[Any] = field(default_factory=list)
    caches: list[weakref.ref[Cache]] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        return [chunk.token for chunk in self.events if chunk.token is not None]

    @property
    def is_over(self) -> bool:
        return bool(self.events) and not (isinstance(self.events[-1], Chunk) and not self.events[-1].finish_reason)


def reply(prompt: Sequence[int], **params: Any) -> Request:
    chosen = {"temperature": 0, "max_tokens": 12, "ignore_eos": True} | params
    return Request(list(prompt), GenerateWork(SamplingParams(**chosen)))


class Table:
    """A scheduler, and the requests that were put to it."""

    def __init__(self, model: Mistral, prefixes: PrefixCache | None = None, rows: int = 8) -> None:
        self.runtime = Runtime(model, Letters(), prefixes or PrefixCache(0), Eager())  # type: ignore[arg-type]
        self.scheduler = Scheduler(self.runtime, rows, 1 << 40)

    def add(self, request: Request) -> Told:
        told = Told(request)
        self.scheduler.add(Row(request, self._serve(told), 0))
        return told

    async def _serve(self, told: Told) -> None:
        request = told.request
        control = RequestControl(is_cancelled=request.cancelled.is_set)
        try:
            match request.work:
                case GenerateWork(params):
                    async for chunk in generating.generate(self.runtime, request.prompt, params, control):
                        told.events.append(chunk)
                case ScoreWork(continuations, shared):
                    told.events.append(
                        await scoring.score(self.runtime, request.prompt, continuations, shared, control)
                    )
        except Cancelled:
            told.events.append(None)

    def run(self) -> None:
        while self.scheduler.rows:
            self.scheduler.step()


def said_alone(model: Mistral, request: Request) -> list[int]:
    assert isinstance(request.work, GenerateWork)
    runtime = Runtime(model, Letters(), PrefixCache(0), Eager())  # type: ignore[arg-type]
    chunks = alone.generate(runtime, request.prompt, request.work.params)
    return [chunk.token for chunk in chunks if chunk.token is not None]


TOKENS = st.integers(0, VOCABULARY - 1)
PERSONA = np.random.default_rng(5).integers(0, VOCABULARY, 45).tolist()
PROMPTS = st.one_of(
    st.lists(TOKENS, min_size=1, max_size=30),
    st.lists(TOKENS, min_size=1, max_size=5).map(lambda some: (some * 30)[:30]),  # so that there are drafts
    st.builds(lambda cut, own: [*PERSONA[:cut], *own], st.integers(20, 45), st.lists(TOKENS, min_size=1, max_size=20)),
)
PARAMS = st.one_of(
    st.fixed_dictionaries({"repetition_penalty": st.sampled_from([1.0, 1.3]), "stop": st.sampled_from([(), ("AB",)])}),
    st.fixed_dictionaries(
        {"temperature": st.just(1.0), "seed": st.integers(0, 3), "top_p": st.sampled_from([1.0, 0.9])}
    ),
)
ARRIVALS = st.tuples(
    st.integers(0, 12),  # the step at which it comes
    PROMPTS,
    PARAMS,
    st.integers(1, 16),  # tokens
    st.one_of(st.none(), st.integers(0, 8)),  # steps after which it is cancelled
    st.booleans(),  # in the background
)


@pytest.mark.slow
@settings(max_examples=200)
@given(kind=st.sampled_from(list(KINDS)), arrivals=st.lists(ARRIVALS, min_size=2, max_size=7), kept=st.booleans())
def test_every_reply_is_the_one_that_it_is_alone(kind: str, arrivals: list[Any], kept: bool) -> None:
    model, caches = MODELS[kind], []
    table = Table(model, PrefixCache(1 << 30 if kept else 0))
    all_told: list[Told] = []
    step = 0
    waiting = sorted(arrivals, key=lambda arrival: arrival[0])
    to_cancel: list[tuple[int, Told]] = []
    while waiting or table.scheduler.rows:
        while waiting and waiting[0][0] <= step:
            _, prompt, params, count, cancelled, background = waiting.pop(0)
            told = table.add(reply(prompt, max_tokens=count, background=background, **params))
            all_told.append(told)
            if cancelled is not None:
                to_cancel.append((step + cancelled, told))
        for at, told in to_cancel:
            if at == step:
                told.request.cancelled.set()
        table.scheduler.step()
        for row in table.scheduler.rows:
            if row.wants is not None:
                most = most_bytes(kind, row.request.most_tokens)
                assert row.wants.cache.nbytes <= most
                caches.append(weakref.ref(row.wants.cache))
        for at, told in to_cancel:
            assert told.is_over or at + 1 > step  # a cancelled reply leaves by the step that follows
        step += 1
    for told in all_told:
        expected = said_alone(model, told.request)
        assert told.tokens == expected[: len(told.tokens)]
        assert told.tokens == expected or told.request.cancelled.is_set()
    table.runtime.prefix_cache.clear()
    assert [cache() for cache in caches if cache() is not None] == []


def most_bytes(kind: str, n_tokens: int) -> int:
    args, buffer = ARGS[kind], -(-n_tokens // BLOCK) * BLOCK
    held = sum(min(buffer, args.window_of(layer) or buffer) for layer in range(args.n_layers))
    return 2 * 4 * args.n_kv_heads * args.head_dim * held
