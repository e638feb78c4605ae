"""The latest moderator, kept so that what it has learnt of an engine isn't learnt anew for every message."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from menny.engine_protocols import Engine, OnProgress
from menny.moderation.categories import ModerationFile
from menny.moderation.classifier import SelfReflection
from menny.moderation.moderator import Moderator, Verdict
from menny.moderation.policy import Moderation, Policy
from menny.moderation.shieldstral import Shieldstral
from menny.prompts import guess_template

BorrowJudge = Callable[[OnProgress | None], AbstractContextManager[Engine]]  # lends the engine of a judge


def make_moderator(settings: ModerationFile, engine: Engine, template: str | None, is_judge: bool) -> Moderator:
    """Make the moderator for an engine: its model is a judge, or reflects on a text itself."""
    if is_judge:
        return Shieldstral(settings, engine)
    return SelfReflection(settings, engine, template or guess_template(engine.tokenizer))


class ModeratorCache:
    """Holds one moderator: of one before it nothing is kept, its engine least of all."""

    def __init__(self) -> None:
        self._latest: tuple[Engine, str | None, bool, ModerationFile, Moderator] | None = None
        self._lock = threading.Lock()

    def moderation(
        self, categories: ModerationFile, policy: Policy, borrow_judge: BorrowJudge | None = None
    ) -> Moderation | None:
        """Return the moderation by a policy, whose texts are sorted into these categories; None where it is off.

        The texts are judged by the judge that `borrow_judge` lends, or else by the model that answers.
        """

        def classify(
            engine: Engine, template: str | None, text: str, on_progress: OnProgress | None, question: str
        ) -> Verdict:
            if borrow_judge is None:
                return self.get(categories, engine, template).classify(text, on_progress, question)
            with borrow_judge(on_progress) as judge:
                return self.get(categories, judge, None, is_judge=True).classify(text, on_progress, question)

        return None if policy.is_off else Moderation(policy, categories.names, classify)

    def get(
        self, categories: ModerationFile, engine: Engine, template: str | None, *, is_judge: bool = False
    ) -> Moderator:
        """Return the moderator of an engine, made where it isn't the latest one."""
        with self._lock:
            wanted = (template, is_judge, categories)
            if self._latest and self._latest[0] is engine and self._latest[1:4] == wanted:
                return self._latest[4]
            self._latest = None
            moderator = make_moderator(categories, engine, template, is_judge)
            self._latest = (engine, *wanted, moderator)
            return moderator
