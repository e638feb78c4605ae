"""Self-reflection: the model itself classifies a text, by the label that it finds likeliest.

Section 5 of the Mistral 7B paper (arXiv 2310.06825). The categories, and the words of the prompt, come from
configs/moderation.yaml. No answer is generated, so nothing has to be parsed.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from menny.engine_protocols import Engine, OnProgress
from menny.errors import EngineError
from menny.messages import Message
from menny.moderation.categories import ACCEPTABLE, LIST, CategoryFile, ModerationFile
from menny.moderation.moderator import Verdict, nothing_to_judge, overlapping_pieces, softmax, tokens_in_common
from menny.prompts import encode_chat
from menny.text import is_blank, sanitize


class SelfReflection:
    """Classifies texts by one engine. It scores the neutral texts once, before the first text."""

    def __init__(self, settings: ModerationFile, engine: Engine, template: str) -> None:
        self.settings = settings
        self._engine = engine
        self._template = template
        self._labels = [engine.tokenizer.encode(one.label) for one in settings.labels.values()]
        self._longest = max(map(len, self._labels))
        self._shared_tokens = tokens_in_common(self.prompt(""), self.prompt("x"))
        self._bias: list[float] | None = None
        self._lock = threading.Lock()

    def classify(
        self,
        text: str,
        on_progress: OnProgress | None = None,
        question: str = "",  # noqa: ARG002 - a text is sorted by itself
    ) -> Verdict:
        """Return the verdict on a text; on one longer than the context, the worst of its overlapping pieces."""
        began = time.perf_counter()
        if not self._engine.can_score:
            raise EngineError("A model on this server can't moderate: choose one on this machine, or on vLLM.")
        text = sanitize(text)
        if is_blank(text):
            return nothing_to_judge(self.settings)
        bias = self._learn_bias(on_progress)
        verdicts = [self._classify_piece(piece, bias, on_progress) for piece in overlapping_pieces(text, self._fits)]
        worst = min(verdicts, key=lambda one: (one.is_acceptable, one.probabilities[ACCEPTABLE]))
        found = sorted((likely, name) for one in verdicts for name, likely in one.counting.items())
        counting = {name: likely for likely, name in found}  # each where it is likeliest
        return replace(worst, seconds=time.perf_counter() - began, counting=counting)

    def _classify_piece(self, piece: str, bias: Sequence[float], on_progress: OnProgress | None) -> Verdict:
        scores = self._scores(piece, on_progress)
        likely = softmax([score - expected for score, expected in zip(scores, bias, strict=True)])
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
