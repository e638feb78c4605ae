"""The action on a message or a reply by the model's verdict on it: off, warn, or block, for each category."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from menny.config.settings import Action
from menny.engine_protocols import Engine, OnProgress
from menny.errors import MennyError
from menny.moderation.categories import ModerationFile
from menny.moderation.moderator import Verdict

logger = logging.getLogger(__name__)

Side = Literal["messages", "replies"]
Classify = Callable[[Engine, str | None, str, OnProgress | None, str], Verdict]

ACTIONS: Sequence[Action] = ("off", "warn", "block")  # the mildest first
MODERATION_KEY = "moderation"  # the key under which a finding is kept beside a message
UNCHECKED = "it ended before it could be checked"
WITHHELD = "(This reply was withheld.)"  # what stands in a blocked reply's place, also for the model


@dataclass(frozen=True, slots=True)
class Policy:
    """The action by category for messages and for replies; off for categories that aren't named."""

    messages: Mapping[str, Action] = field(default_factory=dict)
    replies: Mapping[str, Action] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ModerationFile) -> "Policy":
        """As configs/moderation.yaml has it."""
        return cls(
            {category.id: category.messages for category in settings.categories},
            {category.id: category.replies for category in settings.categories},
        )

    @property
    def is_off(self) -> bool:
        """True where nothing is checked at all."""
        return self.strictest("messages") == self.strictest("replies") == "off"

    def strictest(self, side: Side) -> Action:
        """Return the strictest action that a message, or a reply, can meet."""
        actions = (self.messages if side == "messages" else self.replies).values()
        return next((action for action in ("block", "warn") if action in actions), "off")

    def action(self, side: Side, category: str) -> Action:
        """Return the action for this category; an acceptable text passes."""
        return (self.messages if side == "messages" else self.replies).get(category, "off")


@dataclass(frozen=True, slots=True)
class ModerationResult:
    """The action on a text and the reason: its category, or the `problem` (a stored key) that left it unchecked."""

    action: Action
    category: str = ""  # its name, as a reader knows it
    probability: float | None = None
    problem: str = ""

    @property
    def sentence(self) -> str:
        """Why, as the end of a sentence."""
        why = self.problem or f"to the model it looks like “{self.category}” ({self.probability:.0%} sure)"
        return why if why.endswith((".", "!", "?")) else why + "."

    def to_dict(self) -> dict[str, Any]:
        """As it is kept beside a message."""
        return asdict(self)

    @classmethod
    def from_dict(cls, note: object) -> "ModerationResult | None":
        """From what was kept beside a message, by us or by a file that was taken in; None where nothing can be read."""
        if not isinstance(note, dict) or note.get("action") not in ("warn", "block"):
            return None
        given = note.get("probability")
        probability = float(given) if isinstance(given, int | float) and 0 <= given <= 1 else None
        category, problem = str(note.get("category") or ""), str(note.get("problem") or "")
        if not category or probability is None:
            problem = problem or "the reason isn't known"
        return cls(note["action"], category, probability, problem)


@dataclass(frozen=True, slots=True)
class Moderation:
    """A policy with the classifier that it goes by. It never lets a failed check pass in silence.

    `names` are the categories' names by id. `classify` takes the engine that is asked, the prompt template (None:
    guessed by the engine's vocabulary), the text, a callback for progress, and the message that the text answers, if it
    is a reply.
    """

    policy: Policy
    names: Mapping[str, str]
    classify: Classify

    def check(
        self,
        side: Side,
        text: str,
        engine: Engine,
        template: str | None,
        on_progress: OnProgress | None = None,
        question: str = "",
    ) -> ModerationResult | None:
        """Classify a message, or a reply to `question`; return what to do with it, None to let it pass."""
        worst = self.policy.strictest(side)
        if worst == "off":
            return None
        try:
            verdict = self.classify(engine, template, text, on_progress, question)
        except MennyError as error:
            return ModerationResult(worst, problem=f"it couldn't be checked. {error}")
        except Exception as error:
            logger.exception("A check failed")
            return ModerationResult(worst, problem=f"it couldn't be checked ({type(error).__name__})")
        # A text may count as several, and what one of them lets pass is no pass for the others.
        likely = {verdict.category: verdict.probabilities[verdict.category], **verdict.counting}
        found = [(ACTIONS.index(self.policy.action(side, name)), p, name) for name, p in likely.items()]
        strictness, probability, name = max(found)
        return ModerationResult(ACTIONS[strictness], self.names[name], probability) if strictness else None

    def unchecked(self, side: Side) -> ModerationResult | None:
        """The result for a text before it is checked; None where nothing is going to be."""
        worst = self.policy.strictest(side)
        return None if worst == "off" else ModerationResult(worst, problem=UNCHECKED)
