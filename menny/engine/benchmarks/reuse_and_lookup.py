"""The gains of cached prefixes and of prompt lookup, each measured in alternation with going without it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from menny.engine.benchmarks.timing import plain, plainly, random_prompts
from menny.engine.sampling import SamplingParams
from menny.engine.worker import Engine
from menny.engine_protocols import Chunk

TURNS = 5  # of a conversation, of which the last is measured
REPLY_TOKENS = 16  # of each turn's reply, at most
TURN_TOKENS = 32  # added by each turn, where the context has room
DRAFTED_TOKENS = 64  # of a reply, at most

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
    """Seconds to the first token of a conversation's late turn, and of a prompt as long that is all new."""

    turn: int
    prompt_tokens: int
    cached_tokens: int
    seconds_to_first_token: float
    seconds_without_reuse: float
    ratio: float


@dataclass(frozen=True)
class Drafts:
    """Medians of decoding with drafts and without, and of their ratio: above 1, drafts make it faster."""

    decode_tps: float
    decode_tps_without: float
    ratio: float


@dataclass(frozen=True)
class LookupGain:
    """Decoding speeds with drafts, for a reply that repeats the text and for one that is new."""

    new_tokens: int
    repeating: Drafts
    fresh: Drafts


def measure_reuse(engine: Engine, prompt_tokens: int, new_tokens: int, runs: int) -> ReuseGain:
    """Time the first token of a conversation's fifth turn, and of a prompt as long without a history."""
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
        for chunks, ids in ((with_reuse, prompt), (without, next(others)[: len(prompt)])):
            chunks.extend(engine.stream(ids, plain(1)))
    seconds, seconds_without = (
        median(chunk.seconds_to_first_token for chunk in chunks) for chunks in (with_reuse, without)
    )
    last = with_reuse[-1]
    return ReuseGain(TURNS, last.prompt_tokens, last.cached_tokens, seconds, seconds_without, seconds / seconds_without)


def measure_lookup(engine: Engine, new_tokens: int, runs: int) -> LookupGain:
    """Measure how fast replies are decoded with drafts and without.

    The repeating text is continued greedily. Greedy small models soon repeat themselves, so the new text is sampled.
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
    _decode_tps(engine, prompt, params)  # learns the costs of passes here
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for run in range(runs):
        for lookup in (True, False) if run % 2 else (False, True):
            speeds[lookup].append(_decode_tps(engine, prompt, replace(params, lookup=lookup)))
    ratios = [one / other if other else 1.0 for one, other in zip(speeds[True], speeds[False], strict=True)]
    return Drafts(median(speeds[True]), median(speeds[False]), median(ratios))


def _decode_tps(engine: Engine, prompt: Sequence[int], params: SamplingParams) -> float:
    *_, last = engine.stream(prompt, params)
    return last.decode_tps
