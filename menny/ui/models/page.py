"""The page of models: a card for each, what is loaded, and ways to add others."""

import streamlit as st

from menny.config.settings import Settings, keep_settings, settings_error
from menny.errors import MennyError
from menny.models.catalogue import Fit, ModelSpec
from menny.models.loader import Planner, fit_of
from menny.ui.models.add import draw_adding
from menny.ui.models.card import draw_card
from menny.ui.models.jobs import Work, shared_work
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options, read_options
from menny.ui.shared.shared_engine import SharedEngine, shared_engine

EVERY = 0.7  # seconds between two looks at what moves
FIT_SECONDS = 5.0  # for which a look at the memory holds
IDLE = {0: "Never", 300: "After 5 minutes", 900: "After 15 minutes", 3600: "After an hour"}


def draw_models() -> None:
    """Draw the page."""
    session, options, work, engines = Session.current(), read_options(), shared_work(), shared_engine()
    with st.container(key="models"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.title("Models", anchor=False, width="content")
            draw_adding(session, options)
        if problem := settings_error():
            st.warning(as_label(str(problem)), icon=":material/warning:")
        for problem in options.errors:
            if str(problem).startswith(("models", "configs/models", "menny/models")) or "models.yaml" in str(problem):
                st.warning(as_label(str(problem)), icon=":material/warning:")
        moving = work.is_under_way or engines.loading is not None
        st.fragment(_draw_moving, run_every=EVERY if moving else None)(session, options, work, engines, moving)


def _draw_moving(session: Session, options: Options, work: Work, engines: SharedEngine, was_moving: bool) -> None:
    """All that can change by itself; when something begins or ends to move, the page is drawn anew."""
    if was_moving != (work.is_under_way or engines.loading is not None):
        st.rerun()
    specs = [*options.models, *session.own_models]
    _draw_loaded(session, specs, engines)
    with st.grid("auto", min_column_width=330, gap="small"):
        for spec in specs:
            draw_card(spec, _fit(session, spec, specs), session, work, engines)


def _draw_loaded(session: Session, specs: list[ModelSpec], engines: SharedEngine) -> None:
    """What holds memory now, the button that gives it back, and the timer that does so."""
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
                help="Give its memory back. Not while a reply is being written.",
                on_click=_unload,
                args=(engines,),
            )
        now = int(engines.idle_seconds or 0)
        st.session_state["idle"] = now  # which another tab may have changed
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
    engines.idle_seconds = st.session_state["idle"] or None
    try:
        keep_settings(Settings(unload_after=st.session_state["idle"] or None))
    except MennyError as error:
        session.told = str(error)


def _unload(engines: SharedEngine) -> None:
    engines.unload()


def _fit(session: Session, spec: ModelSpec, specs: list[ModelSpec]) -> Fit | None:
    tuned = session.tuned.get(spec.id)
    return _fits(tuple(specs), tuned.context if tuned else None, shared_engine().loaded).get(spec.id)


@st.cache_resource(show_spinner=False, ttl=FIT_SECONDS, max_entries=8)
def _fits(_specs: tuple[ModelSpec, ...], context: int | None, loaded: object) -> dict[str, Fit]:
    """What fits, by id; looked up anew only now and then, as it reads headers."""
    del loaded  # it is here to be part of the cache's key
    planner = Planner()
    found = {spec.id: fit_of(spec, _specs, planner, context) for spec in _specs}
    return {model_id: fit for model_id, fit in found.items() if fit is not None}
