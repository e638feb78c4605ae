"""Self-reflection: the model itself classifies a text, by the label that it finds likeliest.

Section 5 of the Mistral 7B paper (arXiv 2310.06825). The categories, and the words of the prompt, come from
configs/moderation.yaml. No answer is generated, so nothing has to be parsed.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from menny.config.yaml_models import Line, StrictModel, Text, load_yaml
from menny.engine_protocols import Engine, OnProgress
from menny.errors import EngineError, PromptTooLongError
from menny.messages import Message
from menny.prompts import encode_chat
from menny.text import is_blank, sanitize

ACCEPTABLE = "acceptable"
LIST = "{categories}"  # where the instruction lists them
OVERLAP = 4  # a quarter of a piece stands in the next one too

Action = Annotated[Literal["off", "warn", "block"], BeforeValidator(lambda given: "off" if given is False else given)]


class LabelFile(StrictModel):
    """A label in configs/moderation.yaml."""

    name: Line = Field(min_length=1, max_length=40, description="The name on the page.")
    description: Line = Field(min_length=1, max_length=300, description="What belongs here, in words for the model.")
    label: Line = Field(
        min_length=1, max_length=100, description="The answer whose likelihood counts; best a short sentence."
    )


class CategoryFile(LabelFile):
    """A category of texts that may be filtered out."""

    id: Line = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40, description="A short word, as sets of texts use it.")
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The probability from which a text counts as this. Default: where no other label is likelier.",
    )
    messages: Action = Field(
        default="off", description="The action for a message of this kind; the page can change it."
    )
    replies: Action = Field(default="off", description="The action for a reply of this kind; the page can change it.")


class ModerationFile(StrictModel):
    """The content of configs/moderation.yaml."""

    instruction: Text = Field(
        min_length=1,
        max_length=4000,
        description=f"The instructions; {LIST} stands for the list of categories.",
    )
    question: Line = Field(min_length=1, max_length=300, description="The question to the model below the text.")
    acceptable: LabelFile = Field(description="The label of every text that belongs to no category.")
    categories: tuple[CategoryFile, ...] = Field(min_length=1, max_length=30, description="The others.")
    neutral: tuple[Text, ...] = Field(
        default=(),
        max_length=20,
        description="Texts that say nothing: the model's scores of these are subtracted from those of others.",
    )

    @field_validator("instruction")
    @classmethod
    def _lists_the_categories(cls, instruction: str) -> str:
        if instruction.count(LIST) != 1:
            raise ValueError(f"must hold {LIST} once, where the categories are to be listed")
        return instruction

    @model_validator(mode="after")
    def _no_two_alike(self) -> "ModerationFile":
        seen: dict[tuple[str, str], int] = {}
        for place, one in enumerate([self.acceptable, *self.categories]):
            word = one.id if isinstance(one, CategoryFile) else ACCEPTABLE
            for key, value in (("id", word), ("name", one.name), ("label", one.label)):
                other = seen.setdefault((key, value.casefold()), place)
                if other != place:
                    first = f"item {other}" if other else "'acceptable'"
                    raise ValueError(f"'categories' item {place} has the same {key} as {first}: {value!r}; change one")
        return self

    @property
    def names(self) -> dict[str, str]:
        """The label's names for readers, by id."""
        return {word: one.name for word, one in self.labels.items()}

    @property
    def labels(self) -> dict[str, LabelFile]:
        """Every label by its id; `acceptable` is the first."""
        return {ACCEPTABLE: self.acceptable, **{category.id: category for category in self.categories}}


def load_moderation(path: Path | str) -> ModerationFile:
    """Read the categories; raises ConfigError that names the file, the line and the key."""
    return load_yaml(path, ModerationFile)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The id of a text's category, how likely each label is (together 1), and the seconds that it took.

    `counting` are all categories that the text, or a piece of it, counts as, with how likely each is there.
    """

    category: str
    probabilities: Mapping[str, float]
    seconds: float
    counting: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_acceptable(self) -> bool:
        return self.category == ACCEPTABLE


class Moderator:
    """Classifies texts by one engine. It scores the neutral texts once, before the first text."""

    def __init__(self, settings: ModerationFile, engine: Engine, template: str) -> None:
        self.settings = settings
        self._engine = engine
        self._template = template
        self._labels = [engine.tokenizer.encode(one.label) for one in settings.labels.values()]
        self._longest = max(map(len, self._labels))
        self._shared_tokens = _in_common(self.prompt(""), self.prompt("x"))
        self._bias: list[float] | None = None
        self._lock = threading.Lock()

    def classify(self, text: str, on_progress: OnProgress | None = None) -> Verdict:
        """The verdict on a text; on a longer one than the context holds, the worst one on its overlapping pieces.

        An empty text is acceptable. Raises the engine's errors, and PromptTooLongError where the context has no room
        for any text.
        """
        began = time.perf_counter()
        if not self._engine.can_score:
            raise EngineError("A model on this server can't moderate: choose one on this machine.")
        text = sanitize(text)
        if is_blank(text):
            return Verdict(ACCEPTABLE, {name: float(name == ACCEPTABLE) for name in self.settings.labels}, 0.0)
        bias = self._learn_bias(on_progress)
        verdicts = [self._classify_piece(piece, bias, on_progress) for piece in overlapping_pieces(text, self._fits)]
        worst = min(verdicts, key=lambda one: (one.is_acceptable, one.probabilities[ACCEPTABLE]))
        found = sorted((likely, name) for one in verdicts for name, likely in one.counting.items())
        counting = {name: likely for likely, name in found}  # each where it is likeliest
        return replace(worst, seconds=time.perf_counter() - began, counting=counting)

    def _classify_piece(self, piece: str, bias: Sequence[float], on_progress: OnProgress | None) -> Verdict:
        scores = self._scores(piece, on_progress)
        likely = _softmax([score - expected for score, expected in zip(scores, bias, strict=True)])
        probabilities = dict(zip(self.settings.labels, likely, strict=True))
        counting = counted(probabilities, self.settings.categories)
        return Verdict(next(iter(counting), ACCEPTABLE), probabilities, 0.0, counting)

    def _learn_bias(self, on_progress: OnProgress | None) -> list[float]:
        """Return the score of each label after a text that says nothing: the mean over the neutral texts."""
        with self._lock:
            if self._bias is None:
                scored = [self._scores(text, on_progress) for text in self.settings.neutral]
                self._bias = [sum(column) / len(column) for column in zip(*scored, strict=True)] or [
                    0.0 for _ in self._labels
                ]
            return self._bias

    def _scores(self, text: str, on_progress: OnProgress | None) -> list[float]:
        scores = self._engine.score(self.prompt(text), self._labels, self._shared_tokens, on_progress)
        return [score.per_token for score in scores]

    def _fits(self, piece: str) -> bool:
        return len(self.prompt(piece)) + self._longest <= self._engine.context_length

    def prompt(self, text: str) -> list[int]:
        """The ids that each label is scored after.

        What never changes comes first, so that it is computed once; the text is the last thing that is new.
        """
        listed = "\n".join(f"- {name}: {one.description}" for name, one in self.settings.labels.items())
        system = Message("system", self.settings.instruction.replace(LIST, listed))
        question = Message("user", f"{quoted(text)}\n\n{self.settings.question}")
        return encode_chat([system, question], self._template, self._engine.tokenizer)


def quoted(text: str) -> str:
    """A text with a mark before every line, so that no line of it can pass for one that isn't quoted."""
    return "\n".join("> " + line for line in text.splitlines() or [""])


def counted(probabilities: Mapping[str, float], categories: Sequence[CategoryFile]) -> dict[str, float]:
    """The categories that count, the likeliest first: by their threshold, or, without one, by being the likeliest."""
    likeliest = max(probabilities, key=lambda name: probabilities[name])
    counting = [
        one.id
        for one in categories
        if (one.id == likeliest if one.threshold is None else probabilities[one.id] >= one.threshold)
    ]
    return {name: probabilities[name] for name in sorted(counting, key=lambda name: -probabilities[name])}


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


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens that both begin with."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _softmax(values: Sequence[float]) -> list[float]:
    highest = max(values)
    powers = [math.exp(value - highest) for value in values]
    return [power / sum(powers) for power in powers]
