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
        except (Cancelled, RuntimeError) as error:
            told.events.append(error)

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


def watched(monkeypatch: pytest.MonkeyPatch, model: Mistral) -> list[int]:
    """Filled with the number of tokens of each pass from now on."""
    seen: list[int] = []
    compute = type(model).hidden_of

    def noting(self: Mistral, x: Any, sequences: Any) -> Any:
        seen.append(x.shape[1])
        return compute(self, x, sequences)

    monkeypatch.setattr(type(model), "hidden_of", noting)
    return seen


def test_a_stream_goes_on_while_others_read_their_prompts_in_turn() -> None:
    table = Table(MODELS["dense"])
    stream = table.add(reply([1, 2], max_tokens=40, lookup=False))
    for _ in range(3):
        table.scheduler.step()
    long, short = table.add(reply([3] * 10 * CHUNK)), table.add(reply([4] * 25))
    for step in range(8):
        before = len(stream.events)
        table.scheduler.step()
        assert len(stream.events) == before + 1, step
    assert short.events  # it didn't wait until the long one was read
    assert not long.events
    table.run()
    assert [told.tokens for told in (stream, long, short)] == [
        said_alone(MODELS["dense"], told.request) for told in (stream, long, short)
    ]


def test_what_runs_in_the_background_reads_when_nobody_waits() -> None:
    table = Table(MODELS["dense"])
    summary = table.add(reply([5] * 10 * CHUNK, background=True))
    asked = table.add(reply([3] * 5 * CHUNK, max_tokens=1))
    table.run()
    assert asked.is_over
    assert summary.is_over
    judged = table.add(Request([6] * 30, ScoreWork([[1], [2, 3]], 0)))
    streamed = table.add(reply([1, 2], max_tokens=20))
    table.run()
    assert [score.tokens for score in judged.events[0]] == [1, 2]
    assert len(streamed.tokens) == 20


def test_a_reply_that_is_checked_before_and_after_goes_on_beside_a_stream() -> None:
    table = Table(MODELS["dense"])
    stream = table.add(reply([1, 2], max_tokens=1 << 20, lookup=False))
    for _ in range(3):
        table.scheduler.step()
    for work in (
        Request([6] * 3 * CHUNK, ScoreWork([[1], [2, 3]], CHUNK)),
        reply([3] * 2 * CHUNK, max_tokens=20),
        Request([6] * 3 * CHUNK, ScoreWork([[1], [2, 3]], CHUNK)),
    ):
        told = table.add(work)
        while not told.is_over:
            before = len(stream.events)
            table.scheduler.step()
            assert len(stream.events) == before + 1
    assert not stream.is_over
    stream.request.cancelled.set()
    table.run()


def test_a_beginning_that_several_have_in_common_is_computed_once_and_held_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, prefixes = MODELS["dense"], PrefixCache(1 << 30)
    persona = (PERSONA * 9)[: 15 * CHUNK]
    seen = watched(monkeypatch, model)
    table = Table(model, prefixes)
    all_told = [table.add(reply([*persona, word, 9], max_tokens=2, seed=word)) for word in range(4)]
    table.run()
    assert sum(seen) < len(persona) + 4 * 3 * CHUNK
    one = next(iter(prefixes._root.children))
    assert prefixes.nbytes < 1.5 * one.cache.nbytes
    monkeypatch.undo()
    for told in all_told:
        assert told.tokens == said_alone(model, told.request)


def test_a_row_comes_when_memory_holds_its_cache_and_the_first_always() -> None:
    table = Table(MODELS["dense"], rows=3)
    scheduler = Scheduler(table.runtime, 3, 100)
    assert scheduler.has_room(1000)
    row = table.add(reply([1, 2]))
    scheduler.add(table.scheduler.rows[0])
    scheduler.rows[0].cache_bytes = 60
    assert scheduler.has_room(40)
    assert not scheduler.has_room(41)
    assert row.events == []
    table.run()


def test_an_error_in_a_pass_ends_those_who_share_it_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(MODELS["dense"])
    shared = [table.add(reply([1, 2])), table.add(reply([2, 3]))]
    reading = table.add(reply([4] * 4 * CHUNK))
    table.scheduler.step()

    def fail(*_: Any) -> None:
        raise RuntimeError("the machine is full")

    with monkeypatch.context() as patch:
        for name in ("together", "__call__"):
            patch.setattr(type(MODELS["dense"]), name, fail)
        table.scheduler.step()
    assert ["full" in str(told.events[-1]) for told in shared] == [True, True]
    table.run()
    assert reading.tokens == said_alone(MODELS["dense"], reading.request)
