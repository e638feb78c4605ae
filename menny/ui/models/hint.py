"""The start page's hint: what the built-in model is, and which one this machine should have, with its download."""

from collections.abc import Sequence

import streamlit as st

from menny.cli.tables import download_text
from menny.models.catalogue import ModelSpec, PackageSource, Recommendation
from menny.text import size
from menny.ui.models.advice import advise
from menny.ui.models.jobs import Work, shared_work
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.app_settings import shared_settings
from menny.ui.shared.feedback import TOAST

EVERY = 0.7  # seconds between two updates of a download


def draw_model_hint(session: Session, models: Sequence[ModelSpec], *, only_download: bool = False) -> bool:
    """Draw it while the built-in model is the only one, until it is dismissed; then, that its download is ready.

    With `only_download`, only a download under way or done. Returns whether there was anything to draw.
    """
    work = shared_work()
    here = [spec for spec in models if session.place_of(spec)]
    got = [spec for spec in here if (job := work.downloads.get(spec.id)) and job.progress.doing == "done"]
    if got and session.model and isinstance(session.model.source, PackageSource):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key="model-hint"):
            st.markdown(f":material/check_circle: **{as_label(got[-1].name)}** is ready.", width="stretch")
            st.button("Use it", key="hint-use", type="primary", on_click=_use, args=(session, got[-1]))
        return True
    if here and all(isinstance(spec.source, PackageSource) for spec in here):
        best = advise(session, models).recommendation
        download = work.downloads.get(best.model.id) if best else None
        if download or (shared_settings().now.model_hint and not only_download):
            is_coming = download is not None and not download.progress.is_over
            run_every = EVERY if is_coming else None
            st.fragment(_draw_offer, run_every=run_every)(session, here[0], best, work, is_coming)
            return True
    return False


def _draw_offer(
    session: Session, built_in: ModelSpec, best: Recommendation | None, work: Work, was_coming: bool
) -> None:
    """Draw what there is, and the recommended model with its download; rerun the page when that begins or ends."""
    download = work.downloads.get(best.model.id) if best else None
    is_coming = download is not None and not download.progress.is_over
    if is_coming != was_coming:
        st.rerun()
    with st.container(key="model-hint", gap="xsmall"):
        if best is None:
            sentence = f"{built_in.name} is built in, for trying Menny. Nothing larger fits into this machine's memory."
            st.caption(as_label(sentence))
            st.button("Close", key="hint-close", type="tertiary", on_click=_dismiss, args=(session,))
            return
        on_disk = size(best.model.size_bytes or 0)
        st.caption(
            as_label(f"{built_in.name} is built in and often gets facts wrong. For this machine: ")
            + f"**{as_label(best.model.name)}**."
        )
        if is_coming and download:
            progress = download.progress
            st.progress(progress.done / max(1, progress.size), text=as_label(download_text(progress)))
            st.button("Cancel", key="hint-cancel", icon=":material/close:", on_click=download.cancel)
            return
        if download and download.progress.error:
            st.error(as_label(download.progress.error), icon=":material/error:")
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.button(
                f"Download ({on_disk})",
                key="hint-get",
                type="primary",
                icon=":material/download:",
                on_click=work.get,
                args=(best.model,),
            )
            if "models" in session.pages:
                st.page_link(session.pages["models"], label="Other models")
            st.button("Not now", key="hint-close", type="tertiary", on_click=_dismiss, args=(session,))


def _dismiss(session: Session) -> None:
    with session.feedback.attempt(TOAST):
        shared_settings().change(model_hint=False)


def _use(session: Session, spec: ModelSpec) -> None:
    session.requested_model = spec.id
