"""The latest moderator, kept so that what it has learnt of an engine isn't learnt anew for every message."""

import threading

from menny.engine_protocols import Engine, OnProgress
from menny.moderation.classifier import ModerationFile, Moderator, Verdict
from menny.moderation.policy import Moderation, Policy
from menny.prompts import guess_template


class ModeratorCache:
    """Holds one moderator: of one before it nothing is kept, its engine least of all."""

    def __init__(self) -> None:
        self._latest: tuple[Engine, str, ModerationFile, Moderator] | None = None
        self._lock = threading.Lock()

    def moderation(self, categories: ModerationFile, policy: Policy) -> Moderation | None:
        """The moderation by a policy, whose texts are sorted into these categories; None where the policy is off."""

        def classify(engine: Engine, template: str | None, text: str, on_progress: OnProgress | None) -> Verdict:
            return self.get(categories, engine, template).classify(text, on_progress)

        return None if policy.is_off else Moderation(policy, categories.names, classify)

    def get(self, categories: ModerationFile, engine: Engine, template: str | None) -> Moderator:
        """The moderator of an engine, made where it isn't the latest one."""
        chosen = template or guess_template(engine.tokenizer)
        with self._lock:
            if self._latest and self._latest[0] is engine and self._latest[1:3] == (chosen, categories):
                return self._latest[3]
            self._latest = None
            moderator = Moderator(categories, engine, chosen)
            self._latest = (engine, chosen, categories, moderator)
            return moderator
