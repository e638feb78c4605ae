"""The moderators that all tabs share, and the judge that one of them may be."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from menny.engine_protocols import Engine, OnProgress, Phase, Progress
from menny.errors import ModelError
from menny.models.beside import AS_JUDGE
from menny.models.catalogue import ModelSpec
from menny.models.loader import source_of
from menny.moderation.moderator_cache import BorrowJudge, ModeratorCache
from menny.ui.shared.shared_engine import shared_judge


@st.cache_resource(show_spinner=False)
def shared_moderators() -> ModeratorCache:
    """Return the moderators of this process."""
    return ModeratorCache()


def lending(judge: ModelSpec) -> BorrowJudge:
    """Return what lends a judge's engine. It raises ModelError where the judge isn't on this machine."""

    @contextmanager
    def borrow(on_progress: OnProgress | None) -> Iterator[Engine]:
        source = source_of(judge, AS_JUDGE)
        if source is None:
            raise ModelError(f"{judge.name} isn't on this machine: choose in Moderation who checks.")

        def report(phase: Phase) -> None:
            if on_progress:
                on_progress(Progress(phase))

        with shared_judge().borrow(source, report, lambda: False) as engine:
            yield engine

    return borrow
