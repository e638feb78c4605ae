"""The fit of every model on this machine, and the one that is recommended for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from menny.models.catalogue import Fit, ModelSpec, Recommendation, recommend
from menny.models.loader import Planner, fit_of
from menny.ui.session import Session
from menny.ui.shared.shared_engine import shared_engine

SECONDS = 5.0  # for which a reading of the free memory is used


@dataclass(frozen=True)
class Advice:
    """The fit of each model by id, where its size is known, and the recommended model, if one fits."""

    fits: Mapping[str, Fit]
    recommendation: Recommendation | None


def advise(session: Session, specs: Sequence[ModelSpec]) -> Advice:
    """Return the advice, with the contexts that are set in this tab."""
    contexts = tuple((spec.id, options.context) for spec in specs if (options := session.load_options.get(spec.id)))
    return _advice(tuple(specs), tuple(spec.id for spec in specs), contexts, shared_engine().loaded)


@st.cache_resource(show_spinner=False, ttl=SECONDS, max_entries=8)
def _advice(
    _specs: tuple[ModelSpec, ...],
    ids: tuple[str, ...],
    contexts: tuple[tuple[str, int | None], ...],
    loaded: object,
) -> Advice:
    """Read the headers of what is here, and plan; what has no underscore is the cache's key."""
    del ids, loaded
    planner, context = Planner(), dict(contexts)
    found = {spec.id: fit_of(spec, _specs, planner, context.get(spec.id)) for spec in _specs}
    fits = {model_id: fit for model_id, fit in found.items() if fit is not None}
    return Advice(fits, recommend(_specs, planner, planner.speed_of))
