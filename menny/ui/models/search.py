"""A search of the hub: what it found, with size and fit before anything is downloaded."""

import streamlit as st

from menny.config.paths import own_models_file
from menny.models.catalogue import Fit, RepoSource, add_entry
from menny.models.loader import Found, Planner, find_models
from menny.text import size
from menny.ui.models.add import free_id
from menny.ui.models.jobs import Work
from menny.ui.models.view import View
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import TOAST
from menny.ui.shared.options import Options, read_options

PLACE = "hub_search"  # of its error


def draw_search(session: Session, options: Options, work: Work) -> None:
    """Draw the field, and below it what was found last."""
    view = View.current()
    with st.container(key="hub-search"):
        with (
            st.form("hub-form", border=False),
            st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"),
        ):
            st.text_input(
                "Search the Hugging Face hub",
                key="hub_words",
                max_chars=100,
                placeholder="A name, such as Ministral 3 or Nemo",
                help="The words that you type are sent to the hub. Nothing is downloaded until you say so.",
            )
            st.form_submit_button("Search", key="hub_find", icon=":material/search:", on_click=_begin, args=(session,))
        if view.words:
            _find(session, view)
        if error := session.feedback.errors.get(PLACE):
            st.error(as_label(error), icon=":material/error:")
        elif view.found is not None:
            _draw_found(view.found, view, session, options, work)


def _begin(session: Session) -> None:
    view = View.current()
    view.words, view.found = str(st.session_state["hub_words"]).strip(), None
    session.feedback.clear(PLACE)


def _find(session: Session, view: View) -> None:
    words, view.words = view.words, ""
    with st.spinner("Searching the hub …"), session.feedback.attempt(PLACE):
        view.found, view.left_out = find_models(words, Planner())


def _draw_found(found: list[Found], view: View, session: Session, options: Options, work: Work) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Found on the hub", anchor=False, width="content")
        st.button("Close", key="hub_close", icon=":material/close:", type="tertiary", on_click=_forget)
    if view.left_out:
        what = "1 other repository isn't" if view.left_out == 1 else f"{view.left_out} other repositories aren't"
        st.caption(f"{what} shown: Menny can't load what is in them, or you have no access.")
    elif not found:
        st.caption("The hub has nothing by this name. Try fewer words.")
    with st.grid("auto", min_column_width=330, gap="small"):
        for number, one in enumerate(found):
            _draw_hit(number, one, session, options, work)


def _forget() -> None:
    View.current().found = None


def _draw_hit(number: int, found: Found, session: Session, options: Options, work: Work) -> None:
    """Draw a repository: its quantizations, the fit of the chosen one, and a button that downloads that."""
    hit = found.hit
    with st.container(border=True, key=f"hub-hit-{number}", gap="xsmall", height="stretch"):
        st.markdown(f"**{as_label(hit.repo)}**")
        at = 0
        if len(hit.choices) > 1:
            at = st.selectbox(
                "Quantization",
                range(len(hit.choices)),
                index=found.usual(),
                format_func=lambda place: f"{hit.choices[place].label} · {size(hit.choices[place].size)}",
                key=f"hub-choice-{hit.repo}",
            )
        choice, fit = hit.choices[at], Fit(found.plans[at])
        st.caption(as_label(f"{choice.label} · {size(choice.size)} · {hit.downloads:,} downloads last month"))
        icon = ":material/check_circle:" if fit.fits else ":material/block:"
        st.progress(min(1.0, fit.share), text=f"{icon} {as_label(fit.in_short)}")
        known = [
            spec
            for spec in options.models
            if isinstance(spec.source, RepoSource) and (spec.source.repo, spec.source.file) == (hit.repo, choice.file)
        ]
        if known:
            st.caption(as_label(f"In the list below: {known[0].name}."))
            return

        def download() -> None:
            with session.feedback.attempt(TOAST):
                _add_and_download(found, at, options, work)
                session.feedback.notice(TOAST, "The download has begun, under Your models.")

        st.button("Download", key=f"hub-get-{number}", icon=":material/download:", on_click=download)


def _add_and_download(found: Found, at: int, options: Options, work: Work) -> None:
    """Make it an entry of the user's own, and begin its download. Raises MennyError."""
    hit, choice = found.hit, found.hit.choices[at]
    name = hit.repo.split("/")[1]
    if choice.file:
        name = f"{name.removesuffix('-GGUF')} {choice.label}"
    entry = add_entry(
        own_models_file(),
        id=free_id(name, options),
        name=name[:80],
        repo=hit.repo,
        file=choice.file,
        size_bytes=choice.size,
    )
    work.get(next(spec for spec in read_options().models if spec.id == entry.id))
