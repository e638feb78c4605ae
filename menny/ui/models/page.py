"""The page of models: for this machine, your own, what fits, what doesn't; a search."""

from collections.abc import Sequence

import streamlit as st

from menny.models.catalogue import Family, ModelSpec, sections
from menny.ui.models.add import draw_adding
from menny.ui.models.advice import Advice, advise
from menny.ui.models.card import draw_card
from menny.ui.models.jobs import Work, shared_work
from menny.ui.models.search import draw_search
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.feedback import TOAST
from menny.ui.shared.options import Options, read_options
from menny.ui.shared.shared_engine import SharedEngine, shared_engine, shared_judge

EVERY = 0.7  # seconds between two updates while a job is under way
IDLE = {0: "Never", 300: "After 5 minutes", 900: "After 15 minutes", 3600: "After an hour"}


def draw_models() -> None:
    """Draw the page."""
    session, options, work, engines = Session.current(), read_options(), shared_work(), shared_engine()
    with st.container(key="models"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.title("Models", anchor=False, width="content")
            draw_adding(session, options)
        for problem in options.errors:
            sentence = str(problem)
            if (
                sentence.startswith(("models", "configs/models", "menny/models"))
                or "models.yaml" in sentence
                or ("settings.yaml" in sentence)
            ):
                st.warning(as_label(str(problem)), icon=":material/warning:")
        draw_search(session, options, work)
        moving = _is_moving(work, engines)
        st.fragment(_draw_moving, run_every=EVERY if moving else None)(session, options, work, engines, moving)


def _is_moving(work: Work, engines: SharedEngine) -> bool:
    """True while what the page shows changes by itself: jobs, loading, and use by a chat, which prevents unloading."""
    return work.is_under_way or engines.loading is not None or engines.is_lent


def _draw_moving(session: Session, options: Options, work: Work, engines: SharedEngine, was_moving: bool) -> None:
    """Draw what background jobs change; rerun the page when the first begins or the last ends."""
    if was_moving != _is_moving(work, engines) or session.feedback.at(TOAST):  # which is drawn above, as is the list
        st.rerun()
    specs = [*options.models, *session.own_models]
    advice = advise(session, specs)
    best = advice.recommendation
    shown = sections(specs, advice.fits, best.model if best else None)

    def draw(families: Sequence[Family]) -> None:
        with st.grid("auto", min_column_width=330, gap="small"):
            for family in families:
                draw_card(family, advice, session, work, engines)

    _draw_recommended(shown.recommended, advice, session, work, engines)
    st.subheader("Your models", anchor=False)
    _draw_loaded(session, specs, engines)
    draw(shown.yours)
    for title, families in (("Also fits", shown.fitting), ("Too large", shown.too_large)):
        if families:
            st.subheader(title, anchor=False)
            draw(families)


def _draw_recommended(
    family: Family | None, advice: Advice, session: Session, work: Work, engines: SharedEngine
) -> None:
    """Draw the family of the recommended model, with why it is this one."""
    if family is None or advice.recommendation is None:
        return
    with st.container(key="recommended"):
        st.subheader("For this machine", anchor=False)
        st.caption(as_label(str(advice.recommendation)))
        draw_card(family, advice, session, work, engines)


def _draw_loaded(session: Session, specs: Sequence[ModelSpec], engines: SharedEngine) -> None:
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
