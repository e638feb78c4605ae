"""What the engine's shortcuts gain on this machine: caches kept between turns, and drafts from the text so far.

Each is measured by turns with the same work done without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from menny.engine.benchmarks.timing import plain, plainly, random_prompts
from menny.engine.sampling import SamplingParams
from menny.engine.worker import Engine
from menny.engine_protocols import Chunk

TURNS = 5  # of a conversation; the last is measured
REPLY_TOKENS = 16  # of each turn's reply, at most
TURN_TOKENS = 32  # that each turn adds to a conversation, where the context has room
DRAFTED_TOKENS = 64  # of a reply with drafts or without, at most

PARAGRAPH = (
    "Every evening at dusk the keeper climbed the winding stairs of the lighthouse, carrying a lantern and a small "
    "flask of oil. From the gallery he could see the fishing boats come home, their sails red in the last light, and "
    "beyond them nothing but water. He trimmed the wick, wound the clockwork, and wrote the weather into his book: "
    "wind from the west, a high sea, two ships. Thirty years he had done so, and still he found the view beautiful.\n\n"
)
REPEATING = 2 * PARAGRAPH + PARAGRAPH[:40]  # a third time is what follows
FRESH = f"{PARAGRAPH}What he didn't write down was what happened to him on the night of the great storm. "


@dataclass(frozen=True)
class ReuseGain:
    """A late turn of a conversation: seconds to its first token, and of another prompt as long, all of it new."""

    turn: int
    prompt_tokens: int
    cached_tokens: int
    seconds_to_first_token: float
    seconds_without_reuse: float
    ratio: float


@dataclass(frozen=True)
class Drafts:
    """Medians with drafts and without, and of the ratios of replies in turn: above 1, drafts make decoding faster."""

    decode_tps: float
    decode_tps_without: float
    ratio: float


@dataclass(frozen=True)
class LookupGain:
    """What drafts from the text so far do to a reply that repeats it, and to one that tells something new."""

    new_tokens: int
    repeating: Drafts
    fresh: Drafts


def measure_reuse(engine: Engine, prompt_tokens: int, new_tokens: int, runs: int) -> ReuseGain:
    """The first token of a conversation's fifth turn, and of a prompt as long without a history."""
    room = engine.context_length - 1
    reply = min(new_tokens, REPLY_TOKENS, max(1, room // (4 * TURNS)))
    first = max(1, min(prompt_tokens, room - (TURNS - 1) * (reply + 1)))
    added = max(1, min(TURN_TOKENS, (room - first) // (TURNS - 1) - reply))
    others = random_prompts(engine.tokenizer.vocab_size, engine.context_length, seed=1)
    with_reuse: list[Chunk] = []
    without: list[Chunk] = []
    for _ in range(runs):
        prompt = next(others)[:first]
        for _ in range(TURNS - 1):
            prompt = [*prompt, *plainly(engine)(prompt, reply), *next(others)[:added]]
        for chunks, asked in ((with_reuse, prompt), (without, next(others)[: len(prompt)])):
            chunks.extend(engine.stream(asked, plain(1)))
    seconds, seconds_without = (
        median(chunk.seconds_to_first_token for chunk in chunks) for chunks in (with_reuse, without)
    )
    last = with_reuse[-1]
    return ReuseGain(TURNS, last.prompt_tokens, last.cached_tokens, seconds, seconds_without, seconds / seconds_without)


def measure_lookup(engine: Engine, new_tokens: int, runs: int) -> LookupGain:
    """How fast replies are decoded with drafts and without.

    The text that repeats is continued greedily. Greedy small models soon repeat themselves, so the other one is drawn.
    """
    count = min(new_tokens, DRAFTED_TOKENS)
    greedy = replace(plain(count), lookup=True)
    return LookupGain(
        count,
        _measure_drafts(engine, REPEATING, greedy, runs),
        _measure_drafts(engine, FRESH, replace(greedy, temperature=1.0), runs),
    )


def _measure_drafts(engine: Engine, text: str, params: SamplingParams, runs: int) -> Drafts:
    prompt = engine.tokenizer.encode(text)[-max(1, engine.context_length - params.max_tokens) :]
    _decode_tps(engine, prompt, params)  # learns what passes take here
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for run in range(runs):
        for lookup in (True, False) if run % 2 else (False, True):
            speeds[lookup].append(_decode_tps(engine, prompt, replace(params, lookup=lookup)))
    ratios = [one / other if other else 1.0 for one, other in zip(speeds[True], speeds[False], strict=True)]
    return Drafts(median(speeds[True]), median(speeds[False]), median(ratios))


def _decode_tps(engine: Engine, prompt: Sequence[int], params: SamplingParams) -> float:
    *_, last = engine.stream(prompt, params)
    return last.decode_tps
