"""A moderator: a text in, a verdict out. Self-reflection and the judge both are one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from menny.engine_protocols import OnProgress
from menny.errors import PromptTooLongError
from menny.moderation.categories import ACCEPTABLE, ModerationFile

OVERLAP = 4  # a quarter of a piece stands in the next one too


@dataclass(frozen=True, slots=True)
class Verdict:
    """The id of a text's category, how likely each label is, and the seconds that it took.

    `counting` are all categories that the text, or a piece of it, counts as, with how likely each is there.
    """

    category: str
    probabilities: Mapping[str, float]
    seconds: float
    counting: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_acceptable(self) -> bool:
        return self.category == ACCEPTABLE


class Moderator(Protocol):
    """Sorts texts into the categories of `settings`."""

    @property
    def settings(self) -> ModerationFile: ...

    def classify(self, text: str, on_progress: OnProgress | None = None, question: str = "") -> Verdict:
        """Return the verdict on a message, or on a reply to `question`; of a text longer than the context, the worst.

        An empty text is acceptable. Raises the engine's errors, and PromptTooLongError where the context has no room
        for any text.
        """

    def prompt(self, text: str) -> list[int]:
        """Return the ids of one question about a text, to time it by."""


def nothing_to_judge(settings: ModerationFile) -> Verdict:
    """Return the verdict on an empty text."""
    return Verdict(ACCEPTABLE, {name: float(name == ACCEPTABLE) for name in settings.labels}, 0.0)


def overlapping_pieces(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in pieces that fit, each as long as can be; what is short enough stands whole in one of them.

    Raises PromptTooLongError where not one character fits.
    """
    pieces: list[str] = []
    start = end = 0
    while end < len(text):
        if pieces:
            start = max(start + 1, end - (end - start) // OVERLAP)
        end = _furthest(text, start, fits)
        pieces.append(text[start:end])
    return pieces


def _furthest(text: str, start: int, fits: Callable[[str], bool]) -> int:
    """Find how far a piece from here may reach: in growing steps, so that no long text is encoded, then by halves."""
    step = 1
    while start + step < len(text) and fits(text[start : start + step]):
        step *= 2
    low, high = step // 2, min(step, len(text) - start)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[start : start + middle]):
            low = middle
        else:
            high = middle - 1
    if low == 0:
        raise PromptTooLongError("The model's context has no room for a text to judge: choose another model.", 1, 0)
    return start + low


def tokens_in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens that both begin with."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def softmax(values: Sequence[float]) -> list[float]:
    """Return probabilities in proportion to the exponentials of these values."""
    highest = max(values)
    powers = [math.exp(value - highest) for value in values]
    return [power / sum(powers) for power in powers]
