"""The page of models: a card for each, the one that is loaded, and forms to add others."""

import streamlit as st

from menny.models.catalogue import Fit, ModelSpec
from menny.models.loader import Planner, fit_of
from menny.ui.models.add import draw_adding
from menny.ui.models.card import draw_card
from menny.ui.models.jobs import Work, shared_work
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.feedback import TOAST
from menny.ui.shared.options import Options, read_options
from menny.ui.shared.shared_engine import SharedEngine, shared_engine, shared_judge

EVERY = 0.7  # seconds between two updates while a job is under way
FIT_SECONDS = 5.0  # for which a reading of the free memory is used
IDLE = {0: "Never", 300: "After 5 minutes", 900: "After 15 minutes", 3600: "After an hour"}


def draw_models() -> None:
    """Draw the page."""
    session, options, work, engines = Session.current(), read_options(), shared_work(), shared_engine()
    with st.container(key="models"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.title("Models", anchor=False, width="content")
            draw_adding(session, options)
        for problem in options.errors:
            said = str(problem)
            if (
                said.startswith(("models", "configs/models", "menny/models"))
                or "models.yaml" in said
                or ("settings.yaml" in said)
            ):
                st.warning(as_label(str(problem)), icon=":material/warning:")
        moving = work.is_under_way or engines.loading is not None
        st.fragment(_draw_moving, run_every=EVERY if moving else None)(session, options, work, engines, moving)


def _draw_moving(session: Session, options: Options, work: Work, engines: SharedEngine, was_moving: bool) -> None:
    """Draw what background jobs change; rerun the page when the first begins or the last ends."""
    if was_moving != (work.is_under_way or engines.loading is not None):
        st.rerun()
    specs = [*options.models, *session.own_models]
    _draw_loaded(session, specs, engines)
    with st.grid("auto", min_column_width=330, gap="small"):
        for spec in specs:
            draw_card(spec, _fit(session, spec, specs), session, work, engines)


def _draw_loaded(session: Session, specs: list[ModelSpec], engines: SharedEngine) -> None:
    """Draw the loaded model, the button that unloads it, and the timer that does so."""
    loaded = next((spec.name for spec in specs if engines.loaded and session.place_of(spec) == engines.loaded), None)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="loaded"):
        if engines.loaded is None:
            st.markdown(":material/memory: No model is loaded.", width="stretch")
        else:
            st.markdown(f":material/memory: **{as_label(loaded or 'A model')}** is loaded.", width="stretch")
            st.button(
                "Unload",
                key="unload",
                icon=":material/eject:",
                disabled=engines.is_lent,
                help="Frees its memory. Not while a reply is being written.",
                on_click=_unload,
                args=(engines,),
            )
        now = int(engines.idle_seconds or 0)
        st.session_state["idle"] = now  # another tab may have changed it
        st.selectbox(
            "Unload when idle",
            sorted({*IDLE, now}),
            format_func=lambda seconds: IDLE.get(seconds) or f"After {seconds} s",
            key="idle",
            width=190,
            on_change=_set_timer,
            args=(session, engines),
        )


def _set_timer(session: Session, engines: SharedEngine) -> None:
    engines.idle_seconds = shared_judge().idle_seconds = st.session_state["idle"] or None
    with session.feedback.attempt(TOAST):
        shared_settings().change(unload_after=st.session_state["idle"] or None)


def _unload(engines: SharedEngine) -> None:
    engines.unload()


def _fit(session: Session, spec: ModelSpec, specs: list[ModelSpec]) -> Fit | None:
    options = session.load_options.get(spec.id)
    return _fits(tuple(specs), options.context if options else None, shared_engine().loaded).get(spec.id)


@st.cache_resource(show_spinner=False, ttl=FIT_SECONDS, max_entries=8)
def _fits(_specs: tuple[ModelSpec, ...], context: int | None, loaded: object) -> dict[str, Fit]:
    """Return whether each model fits, by id; cached for some seconds, as it reads headers."""
    del loaded  # part of the cache's key
    planner = Planner()
    found = {spec.id: fit_of(spec, _specs, planner, context) for spec in _specs}
    return {model_id: fit for model_id, fit in found.items() if fit is not None}
