"""The benchmark: a model's speeds and memory on this machine, beside the speed that its memory bandwidth allows.

All times are a consumer's, from the request to the tokens; mlx-lm is timed by the same clock, in alternation.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import mlx.core as mx
import psutil

from menny.engine.benchmarks.bandwidth import bytes_per_token, measure_bandwidth, weights_bytes
from menny.engine.benchmarks.baseline import Baseline, Generate
from menny.engine.benchmarks.llama_cpp import LlamaCpp
from menny.engine.benchmarks.mlx_lm import MlxLm
from menny.engine.benchmarks.reuse_and_lookup import LookupGain, ReuseGain, measure_lookup, measure_reuse
from menny.engine.benchmarks.timing import Timing, plain, plainly, random_prompts, timed
from menny.engine.checkpoints.load import load_model
from menny.engine.loader import load_engine
from menny.engine.worker import PARALLEL, Engine
from menny.errors import EngineError
from menny.model_files import find_model

WARM_UP_TOKENS = 16
MOST_AT_ONCE = 256

BASELINES: dict[str, Callable[[], Baseline]] = {"mlx-lm": MlxLm, "llama.cpp": LlamaCpp}

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class BenchSettings:
    """Settings of a benchmark. Raises EngineError for values that can't be measured."""

    prompt_tokens: int = 512
    new_tokens: int = 128
    concurrency: Sequence[int] = (1,)  # numbers of requests at once, one measurement each
    runs: int = 3
    against: str | None = None
    threads: int | None = None  # that multiply on a CPU
    parallel: int = PARALLEL  # requests that the engine serves at once; the others wait

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "new_tokens", "runs"):
            if getattr(self, name) < 1:
                raise EngineError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.against not in (None, *BASELINES):
            known = ", ".join(BASELINES)
            raise EngineError(f"The benchmark knows no baseline {self.against!r}: choose {known}.")
        if not self.concurrency or not all(1 <= at_once <= MOST_AT_ONCE for at_once in self.concurrency):
            raise EngineError(f"concurrency is {list(self.concurrency)}, but must be from 1 to {MOST_AT_ONCE}")


@dataclass(frozen=True)
class Speeds:
    """Medians over runs with `concurrency` requests at once; `total_tps` counts the new tokens of all of them."""

    concurrency: int
    prefill_tps: float
    decode_tps: float
    decode_sum_tps: float | None  # of all together, while all are being written; None: they never are
    seconds_to_first_token: float  # the middle request's, its waiting included
    slowest_first_token: float
    first_tokens: list[float]  # seconds to the first token of each request, the first to begin first
    longest_pause: float  # seconds between two tokens of a reply
    total_tps: float
    memory: int  # bytes of the process while it answered
    bandwidth_share: float  # decoding, of what the memory's bandwidth allows


@dataclass(frozen=True)
class Comparison:
    """A baseline on the same weights and prompts, one request at a time; a ratio above 1: Menny is faster."""

    name: str
    version: str
    prefill_tps: float
    decode_tps: float
    seconds_to_first_token: float
    prefill_ratio: float
    decode_ratio: float
    same_tokens: float  # the share of runs with the same tokens from both
    memory: int  # bytes by which the process grew for it
    bandwidth_share: float  # of its decoding, if it reads as many bytes as Menny's


@dataclass(frozen=True)
class Report:
    """The results of a benchmark. Sizes in bytes, the bandwidth in bytes a second."""

    device: str
    prompt_tokens: int
    new_tokens: int
    runs: int
    weights_bytes: int
    bytes_per_token: int  # that decoding reads: weights, and the keys and values so far
    bandwidth: float
    peak_memory: int  # of MLX, weights included
    resident_memory: int  # of the process
    speeds: list[Speeds]
    reuse: ReuseGain
    lookup: LookupGain
    against: Comparison | None = None


@dataclass(frozen=True)
class Together:
    """Requests that were sent at once: the seconds until all were answered, each one's timing, and bytes of memory."""

    seconds: float
    timings: list[Timing]
    memory: int

    @property
    def decode_sum_tps(self) -> float | None:
        """Tokens a second of all together, from the last one's first token to the first one's last; None: no such."""
        all_times = [timing.times for timing in self.timings]
        if not all(all_times):  # a reply without a token
            return None
        begin, end = max(times[0] for times in all_times), min(times[-1] for times in all_times)
        count = sum(begin < time <= end for times in all_times for time in times)
        return count / (end - begin) if count else None


@dataclass
class _Runs:
    """Timings so far: replies of each run by the number of requests at once, and the baseline's."""

    ours: dict[int, list[Together]] = field(default_factory=dict)
    alone: list[Timing] = field(default_factory=list)
    theirs: list[Timing] = field(default_factory=list)


def bench(path: str | Path, settings: BenchSettings, on_step: OnStep = lambda _: None) -> Report:
    """Measure the model at this path; `on_step` gets the name of each step. Raises MennyError."""
    model_path = find_model(Path(path))
    baseline = BASELINES[settings.against]() if settings.against else None
    with tempfile.TemporaryDirectory(prefix="menny-bench-") as folder:
        on_step("loading the model")
        weights, per_token, packed = _prepare(model_path, settings)
        with load_engine(model_path, force=True, threads=settings.threads, parallel=settings.parallel) as engine:
            _check_length(engine, settings)
            on_step("warming up")
            mx.reset_peak_memory()
            _warm_up(plainly(engine), settings, engine.tokenizer.vocab_size)
            memory = mx.get_peak_memory() + packed, psutil.Process().memory_info().rss
            generate = baseline.load(model_path, Path(folder), settings.threads) if baseline else None
            if generate:
                _warm_up(generate, settings, engine.tokenizer.vocab_size)
            their_memory = psutil.Process().memory_info().rss - memory[1]
            runs = _measure(engine, generate, settings, on_step)
            on_step("the fifth turn of a conversation")
            reuse = measure_reuse(engine, settings.prompt_tokens, settings.new_tokens, settings.runs)
            on_step("drafts from the text so far")
            lookup = measure_lookup(engine, settings.new_tokens, settings.runs)
            on_step("the memory's bandwidth")
            bandwidth = measure_bandwidth()
    return Report(
        device=mx.default_device().type.name,
        prompt_tokens=settings.prompt_tokens,
        new_tokens=settings.new_tokens,
        runs=settings.runs,
        weights_bytes=weights,
        bytes_per_token=per_token,
        bandwidth=bandwidth,
        peak_memory=memory[0],
        resident_memory=memory[1],
        speeds=[_speeds(at_once, timed, per_token / bandwidth) for at_once, timed in runs.ours.items()],
        reuse=reuse,
        lookup=lookup,
        against=_compare(baseline, runs, their_memory, per_token / bandwidth) if baseline else None,
    )


def _prepare(path: Path, settings: BenchSettings) -> tuple[int, int, int]:
    """Bytes of the weights, of those read for a token, and of those that MLX doesn't hold."""
    model = load_model(path)
    per_token = bytes_per_token(model, settings.prompt_tokens + settings.new_tokens // 2)
    return weights_bytes(model), per_token, sum(packed.nbytes for packed in model.packed.values())


def _check_length(engine: Engine, settings: BenchSettings) -> None:
    length = settings.prompt_tokens + settings.new_tokens
    if length > engine.context_length:
        raise EngineError(
            f"{settings.prompt_tokens} prompt tokens and {settings.new_tokens} new ones are more than the model's "
            f"context holds, {engine.context_length}: ask for fewer."
        )


def _measure(engine: Engine, generate: Generate | None, settings: BenchSettings, on_step: OnStep) -> _Runs:
    """All runs, Menny's and the baseline's in alternation. No prompt comes twice."""
    runs = _Runs({at_once: [] for at_once in settings.concurrency})
    prompts = random_prompts(engine.tokenizer.vocab_size, settings.prompt_tokens)
    for run in range(1, settings.runs + 1):
        for at_once in runs.ours:
            on_step(f"run {run} of {settings.runs}, {at_once} at once")
            runs.ours[at_once].append(_at_once(engine, [next(prompts) for _ in range(at_once)], settings.new_tokens))
        if generate:
            on_step(f"run {run} of {settings.runs}, mlx-lm")
            prompt = next(prompts)
            for times, decode in ((runs.alone, plainly(engine)), (runs.theirs, generate)):
                times.append(timed(decode(prompt, settings.new_tokens), len(prompt)))
    return runs


def _warm_up(generate: Generate, settings: BenchSettings, vocab_size: int) -> None:
    prompt = next(random_prompts(vocab_size, settings.prompt_tokens, seed=2))  # one that is not measured
    list(generate(prompt, min(settings.new_tokens, WARM_UP_TOKENS)))


def _at_once(engine: Engine, prompts: Sequence[Sequence[int]], new_tokens: int) -> Together:
    """Send these prompts at once, and wait until all are answered."""
    process = psutil.Process()

    def answer(prompt: Sequence[int]) -> tuple[Timing, int]:
        speeds: list[float] = []

        def tokens() -> Iterator[int]:
            for chunk in engine.stream(prompt, plain(new_tokens)):
                speeds.append(chunk.prompt_tps)
                yield from () if chunk.token is None else (chunk.token,)

        timing = timed(tokens(), len(prompt))
        prefill_tps = speeds[-1]  # without the time in the queue
        return replace(timing, prefill_tps=prefill_tps), process.memory_info().rss

    began = time.perf_counter()
    with ThreadPoolExecutor(len(prompts)) as pool:
        answered = list(pool.map(answer, prompts))
    seconds = time.perf_counter() - began
    return Together(seconds, [timing for timing, _ in answered], max(memory for _, memory in answered))


def _speeds(at_once: int, runs: Sequence[Together], seconds_per_token: float) -> Speeds:
    timings = [timing for run in runs for timing in run.timings]
    firsts = [sorted(timing.first for timing in run.timings) for run in runs]
    decode_tps = median(timing.decode_tps for timing in timings)
    sums = [tps for run in runs if (tps := run.decode_sum_tps)]
    return Speeds(
        concurrency=at_once,
        prefill_tps=median(timing.prefill_tps for timing in timings),
        decode_tps=decode_tps,
        decode_sum_tps=median(sums) if sums else None,
        seconds_to_first_token=median(timing.first for timing in timings),
        slowest_first_token=median(max(times) for times in firsts),
        first_tokens=[median(places) for places in zip(*firsts, strict=True)],
        longest_pause=median(max(timing.longest_pause for timing in run.timings) for run in runs),
        total_tps=median(sum(len(timing.tokens) for timing in run.timings) / run.seconds for run in runs),
        memory=max(run.memory for run in runs),
        bandwidth_share=decode_tps * seconds_per_token,
    )


def _compare(baseline: Baseline, runs: _Runs, memory: int, seconds_per_token: float) -> Comparison:
    prefill, decode, first = (_median(runs.theirs, name) for name in ("prefill_tps", "decode_tps", "first"))
    same = [ours.tokens == theirs.tokens for ours, theirs in zip(runs.alone, runs.theirs, strict=True)]
    return Comparison(
        name=baseline.name,
        version=baseline.version,
        prefill_tps=prefill,
        decode_tps=decode,
        seconds_to_first_token=first,
        prefill_ratio=_median(runs.alone, "prefill_tps") / prefill,
        decode_ratio=_median(runs.alone, "decode_tps") / decode if decode else 1.0,
        same_tokens=sum(same) / len(same),
        memory=memory,
        bandwidth_share=decode * seconds_per_token,
    )


def _median(timings: Sequence[Timing], name: str) -> float:
    return float(median(getattr(timing, name) for timing in timings))
