"""Measurements of guardrails and self-reflection on sets of texts with known labels."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from menny.config.yaml_models import Line, StrictModel, Text, load_yaml
from menny.engine_protocols import Engine
from menny.errors import ConfigError
from menny.files import file_name
from menny.messages import Message
from menny.moderation.categories import ACCEPTABLE
from menny.moderation.guardrails import Guardrail
from menny.moderation.moderator import Moderator
from menny.moderation.refusals import declines
from menny.prompts import encode_chat
from menny.text import close_matches

if TYPE_CHECKING:
    from menny.engine import SamplingParams

COST_RUNS, COST_WORDS = 3, 200

OnDone = Callable[[int, int], None]  # the number done, and the number of all


class LabelledText(StrictModel):
    """A text, and what it is."""

    label: Line = Field(min_length=1, description="`acceptable`, or the id of a category in configs/moderation.yaml.")
    text: Text = Field(min_length=1, max_length=8000, description="A message, or a reply.")


class EvaluationFile(StrictModel):
    """A set of texts. For guardrails they are prompts; those that aren't acceptable should be declined."""

    name: Line = Field(min_length=1, max_length=80, description="Its name in the report.")
    about: Line = Field(default="", max_length=300, description="One line on what is in it.")
    prompts: tuple[LabelledText, ...] = Field(max_length=10_000, description="The texts.")


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a binary classification; None where there was nothing to divide by."""

    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """Precision and recall where a text counts as acceptable from this probability on."""

    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The time of a verdict, beside one prefill of as many tokens as its text and the reflection prompt have."""

    prompt_tokens: int
    verdict_seconds: float
    prefill_seconds: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Reflection:
    """A model's results on a set: `confusion[label][found]` counts texts; `quality` rates finding the acceptable."""

    name: str
    texts: int
    labels: tuple[str, ...]
    confusion: Mapping[str, Mapping[str, int]]
    accuracy: float
    quality: Quality
    curve: tuple[Point, ...]
    seconds: float
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt of a set, and the model's reply."""

    label: str
    text: str
    reply: str
    declined: bool


@dataclass(frozen=True, slots=True)
class Guarded:
    """A model's answers under a guardrail: `declined[label]` of `prompts[label]` were declined."""

    guardrail: str
    prompts: Mapping[str, int]
    declined: Mapping[str, int]
    unsafe_declined: float | None
    harmless_declined: float | None
    answers: tuple[Answer, ...]


def load_set(path: Path | str, labels: Sequence[str]) -> EvaluationFile:
    """Read a set whose labels are among these; raises ConfigError."""
    path = Path(path)
    found = load_yaml(path, EvaluationFile)
    if not found.prompts:
        raise ConfigError(f"{file_name(path)}: 'prompts' is empty; a set needs one text at least.")
    for place, one in enumerate(found.prompts, start=1):
        if one.label not in labels:
            close = close_matches(one.label, list(labels))
            meant = f"did you mean '{close[0]}'?" if close else f"choose one of: {', '.join(labels)}."
            raise ConfigError(f"{file_name(path)}: 'prompts' item {place} has the unknown label '{one.label}'; {meant}")
    return found


def evaluate_reflection(chosen: EvaluationFile, moderator: Moderator, on_done: OnDone = lambda *_: None) -> Reflection:
    """Classify every text of a set."""
    pairs: list[tuple[str, str]] = []
    likely: list[tuple[float, bool]] = []
    seconds = 0.0
    for done, one in enumerate(chosen.prompts, start=1):
        verdict = moderator.classify(one.text)
        seconds += verdict.seconds
        pairs.append((one.label, verdict.category))
        likely.append((verdict.probabilities[ACCEPTABLE], one.label == ACCEPTABLE))
        on_done(done, len(chosen.prompts))
    labels = tuple(moderator.settings.labels)
    return Reflection(
        name=chosen.name,
        texts=len(pairs),
        labels=labels,
        confusion=confusion(pairs, labels),
        accuracy=sum(label == found for label, found in pairs) / len(pairs),
        quality=quality([(label == ACCEPTABLE, found == ACCEPTABLE) for label, found in pairs]),
        curve=precision_recall(likely),
        seconds=seconds,
    )


def verdict_cost(texts: Sequence[str], moderator: Moderator, engine: Engine, params: "SamplingParams") -> Cost:
    """Time verdicts on long texts made of these, and equally long prefills without a cached prefix; medians.

    `params` ask for one token.
    """
    verdicts: list[float] = []
    prefills: list[float] = []
    for run in range(COST_RUNS + 1):
        words = " ".join([*texts[run:], *texts[:run]]).split()[:COST_WORDS]
        ids = moderator.prompt(" ".join(words))
        unknown = [engine.tokenizer.encode(str(run))[-1], *ids[1:]]  # another beginning: nothing kept can serve it
        began = time.perf_counter()
        for _ in engine.stream(unknown, params):
            pass
        prefills.append(time.perf_counter() - began)
        verdicts.append(moderator.classify(" ".join(words)).seconds)
    verdict, prefill = median(verdicts[1:]), median(prefills[1:])  # the first ones warm up
    return Cost(len(ids), verdict, prefill, verdict / prefill)


def confusion(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the texts of each label by what they were found to be, from pairs of (label, found)."""
    return {label: {found: pairs.count((label, found)) for found in labels} for label in labels}


def quality(pairs: Sequence[tuple[bool, bool]]) -> Quality:
    """Precision, recall and their harmonic mean, from pairs of (is positive, was found positive)."""
    hits = pairs.count((True, True))
    precision = _share(hits, sum(found for _, found in pairs))
    recall = _share(hits, sum(true for true, _ in pairs))
    f1 = _share(2 * hits, sum(true + found for true, found in pairs))
    return Quality(precision, recall, f1)


def precision_recall(likely: Sequence[tuple[float, bool]]) -> tuple[Point, ...]:
    """Return a point for every threshold that matters, the strictest first, from (probability, is positive)."""
    positives = sum(true for _, true in likely)
    if not positives:
        return ()
    points: list[Point] = []
    for threshold in sorted({probability for probability, _ in likely}, reverse=True):
        found = [true for probability, true in likely if probability >= threshold]
        points.append(Point(threshold, sum(found) / len(found), sum(found) / positives))
    return tuple(points)


def evaluate_guardrail(
    chosen: EvaluationFile,
    guardrail: Guardrail,
    engine: Engine,
    params: "SamplingParams",
    template: str,
    on_done: OnDone = lambda *_: None,
) -> Guarded:
    """Send every prompt of a set by itself under a guardrail, and see which are declined."""
    system = [Message("system", guardrail.text)] if guardrail.text else []
    answers: list[Answer] = []
    for done, one in enumerate(chosen.prompts, start=1):
        ids = encode_chat([*system, Message("user", one.text)], template, engine.tokenizer)
        reply = "".join(chunk.text for chunk in engine.stream(ids, params))
        answers.append(Answer(one.label, one.text, reply, declines(reply)))
        on_done(done, len(chosen.prompts))
    return summed_up(guardrail.id, answers)


def summed_up(guardrail: str, answers: Sequence[Answer]) -> Guarded:
    """Count the declined prompts by label, and as shares of the unsafe and the harmless ones."""
    labels = list(dict.fromkeys(one.label for one in answers))
    prompts = {label: sum(one.label == label for one in answers) for label in labels}
    declined = {label: sum(one.label == label and one.declined for one in answers) for label in labels}
    unsafe = [label for label in labels if label != ACCEPTABLE]
    return Guarded(
        guardrail=guardrail,
        prompts=prompts,
        declined=declined,
        unsafe_declined=_share(sum(declined[one] for one in unsafe), sum(prompts[one] for one in unsafe)),
        harmless_declined=_share(declined.get(ACCEPTABLE, 0), prompts.get(ACCEPTABLE, 0)),
        answers=tuple(answers),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
