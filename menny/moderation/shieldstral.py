"""Shieldstral: a model made to judge texts. It is asked one yes/no question about each category.

The form of its prompt is the one on its model card (mistralai/Shieldstral-1.0-3B), which it was trained with: a fixed
system text, then <Instruct>, <Query> and <Document>, a blank line between them. The score is how likely "yes" is beside
"no", so no answer is generated.
"""

import time
from dataclasses import replace

from menny.engine_protocols import Engine, OnProgress
from menny.errors import EngineError
from menny.messages import Message
from menny.moderation.categories import ACCEPTABLE, LIST, CategoryFile, ModerationFile
from menny.moderation.moderator import Verdict, nothing_to_judge, overlapping_pieces, softmax, tokens_in_common
from menny.prompts import encode_chat, guess_template
from menny.text import is_blank, sanitize

TEMPLATE = "mistral-v7-tekken"  # for a model of this machine; a server lays its prompts out itself
SYSTEM_TEXT = (
    "Judge whether the Document meets the requirements based on the Query and the Instruction provided. "
    'Note that the answer can only be "yes" or "no".'
)
ANSWERS = ("yes", "no")
THRESHOLD = 0.5  # of a category without one of its own
MOST_QUESTION = 2000  # characters of the message that a reply answers: its end, where it is longer


class Shieldstral:
    """Judges texts by an engine of its own. The part of each question before the text is computed once."""

    def __init__(self, settings: ModerationFile, engine: Engine) -> None:
        self.settings = settings
        self._engine = engine
        is_here = engine.tokenizer.control_id("[SYSTEM_PROMPT]") is not None
        self._template = TEMPLATE if is_here else guess_template(engine.tokenizer)
        self._answers = [engine.tokenizer.encode(answer) for answer in ANSWERS]
        names = ", ".join(category.name for category in settings.categories)
        self._instruction = settings.judge_instruction.replace(LIST, names)
        self._shared_tokens = {
            category.id: tokens_in_common(self._ids(category, document(" ")), self._ids(category, document("x")))
            for category in settings.categories
        }

    def classify(self, text: str, on_progress: OnProgress | None = None, question: str = "") -> Verdict:
        """Return the verdict: each category's score, of a long text that of its worst piece.

        How acceptable a text is, is what the highest score leaves of 1.
        """
        began = time.perf_counter()
        if not self._engine.can_score:
            raise EngineError("A model on this server can't moderate: choose one on this machine, or on vLLM.")
        text, question = sanitize(text), sanitize(question)[-MOST_QUESTION:]
        if is_blank(text):
            return nothing_to_judge(self.settings)
        if not self._fits("x" * MOST_QUESTION, question):
            question = ""  # rather than to judge the text in tiny pieces
        scores = dict.fromkeys([category.id for category in self.settings.categories], 0.0)
        for piece in overlapping_pieces(text, lambda piece: self._fits(piece, question)):
            for category in self.settings.categories:
                found = self._score(category, document(piece, question), on_progress)
                scores[category.id] = max(scores[category.id], found)
        verdict = self._verdict(scores)
        return replace(verdict, seconds=time.perf_counter() - began)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of the first category's question about a message."""
        return self._ids(self.settings.categories[0], document(text))

    def _verdict(self, scores: dict[str, float]) -> Verdict:
        thresholds = {one.id: THRESHOLD if one.threshold is None else one.threshold for one in self.settings.categories}
        ranked = sorted(scores, key=lambda name: -scores[name])
        counting = {name: scores[name] for name in ranked if scores[name] > thresholds[name]}
        probabilities = {ACCEPTABLE: 1 - max(scores.values()), **scores}
        return Verdict(next(iter(counting), ACCEPTABLE), probabilities, 0.0, counting)

    def _score(self, category: CategoryFile, judged: str, on_progress: OnProgress | None) -> float:
        """Return how likely the answer to a category's question is yes."""
        ids = self._ids(category, judged)
        found = self._engine.score(ids, self._answers, self._shared_tokens[category.id], on_progress)
        return softmax([answer.log_likelihood for answer in found])[0]

    def _fits(self, piece: str, question: str) -> bool:
        judged = document(piece, question)
        longest = max(len(self._ids(category, judged)) for category in self.settings.categories)
        return longest + max(map(len, self._answers)) <= self._engine.context_length

    def _ids(self, category: CategoryFile, judged: str) -> list[int]:
        messages = prompt(self._instruction, category.query, judged)
        return encode_chat(messages, self._template, self._engine.tokenizer)


def prompt(instruction: str, query: str, judged: str) -> list[Message]:
    """Return Shieldstral's prompt for one yes/no question about a document."""
    fields = f"<Instruct>: {instruction}\n\n<Query>: {query}\n\n<Document>: {judged}"
    return [Message("system", SYSTEM_TEXT), Message("user", fields)]


def document(text: str, question: str = "") -> str:
    """Return a message, or a reply with the question that it answers, as Shieldstral reads them."""
    return f"[User]\n{question}\n\n[Assistant]\n{text}" if question else f"[User]\n{text}"
