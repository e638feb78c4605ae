"""Who judges: moderators of the engine that is loaded, and what follows from their verdicts in one chat."""

import threading
from dataclasses import dataclass

import streamlit as st

from menny.moderation.classifier import Engine, ModerationFile, Moderator, OnProgress, Verdict
from menny.moderation.policy import Policy, Watch
from menny.prompts import guess_template


class Moderators:
    """Keeps the latest moderator, so that what it has learnt of an engine isn't learnt for every message."""

    def __init__(self) -> None:
        self._latest: tuple[Engine, str, ModerationFile, Moderator] | None = None
        self._lock = threading.Lock()

    def of(self, settings: ModerationFile, engine: Engine, template: str | None) -> Moderator:
        """The one for this engine; of the one before nothing is kept, its engine least of all."""
        chosen = template or guess_template(engine.tokenizer)
        with self._lock:
            if self._latest and self._latest[0] is engine and self._latest[1:3] == (chosen, settings):
                return self._latest[3]
            self._latest = None
            moderator = Moderator(settings, engine, chosen)
            self._latest = (engine, chosen, settings, moderator)
            return moderator


@st.cache_resource(show_spinner=False)
def shared_moderators() -> Moderators:
    """The process's one."""
    return Moderators()


@dataclass(frozen=True, slots=True)
class Moderation:
    """What a reply is made with: how texts are judged, what follows, and who keeps the judges."""

    settings: ModerationFile
    policy: Policy
    moderators: Moderators

    def watch(self, engine: Engine, template: str | None) -> Watch:
        """A watch that asks this engine; it is first asked when there is something to judge."""

        def judge(text: str, on_progress: OnProgress | None) -> Verdict:
            return self.moderators.of(self.settings, engine, template).judge(text, on_progress)

        return Watch(self.policy, self.settings.names, judge)
