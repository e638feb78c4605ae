"""A family's card: the chosen model, its fit, and the buttons for it."""

import re
from pathlib import Path

import streamlit as st

from menny.cli.tables import download_text
from menny.config.paths import models_folder, own_models_file
from menny.engine import Conversion, QuantizationConfig, active_memory, fitting_group_size
from menny.errors import MennyError, ModelError
from menny.models.catalogue import (
    CHOICES,
    Family,
    Fit,
    ModelSpec,
    PackageSource,
    RepoSource,
    ServerSource,
    own_ids,
    remove_entry,
)
from menny.models.loader import LoadOptions, converted_bytes
from menny.text import size
from menny.ui.models.advice import Advice
from menny.ui.models.jobs import Work, removable, remove
from menny.ui.models.popover import close, popover
from menny.ui.models.view import View
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import TOAST
from menny.ui.shared.shared_engine import SharedEngine

BITS = (4, 8, 16)
LABELS = {"size": "Size", "version": "Version", "bits": "Bits per weight"}


def draw_card(family: Family, advice: Advice, session: Session, work: Work, engines: SharedEngine) -> None:
    """Draw the card."""
    spec = _chosen(family, advice, session, engines)
    fit, place = advice.fits.get(spec.id), session.place_of(spec)
    with st.container(border=True, key=f"model-{_key(family.models[0])}", gap="xsmall", height="stretch"):
        best = advice.recommendation
        is_best = best is not None and best.model is spec
        st.markdown(f"**{as_label(spec.name)}** {_badge(spec, engines, session)}" + _recommended_badge(is_best))
        _draw_choices(family, spec)
        on_disk = size(spec.size_bytes) + (" to download" if place is None else "") if spec.size_bytes else ""
        facts = [on_disk, spec.licence]
        template = (spec.template or "").replace("-", "\u2011")  # a hyphen that doesn't break
        facts += [f"{spec.context_length:,} tokens" if spec.context_length else "", template]
        st.caption(as_label(" · ".join(fact for fact in facts if fact) or "A model of your own"))
        if spec.good_for:
            st.markdown(as_label(spec.good_for))
        if fit is not None and not isinstance(spec.source, ServerSource):
            icon = ":material/check_circle:" if fit.fits else ":material/block:"
            st.progress(min(1.0, fit.share), text=f"{icon} {as_label(fit.in_short)}")
        with st.container(horizontal=True, gap="xsmall"):
            if place is None:
                _draw_get(spec, work, is_best)
            else:
                if spec.is_judge:
                    st.caption("Choose it under Moderation in the settings.")
                else:
                    _draw_load(spec, fit, session, work, engines)
                _draw_convert(spec, work)
            _draw_remove(spec, engines, session)
        _draw_moving(spec, fit, session, work, engines)  # last, so that it doesn't move the buttons
        _draw_others(family, spec, session, work)


def _chosen(family: Family, advice: Advice, session: Session, engines: SharedEngine) -> ModelSpec:
    """Return the model of a family to show: the one chosen in this tab, else the loaded one, else the first choice."""
    chosen = View.current().chosen.get(family.name)
    by_id = {one.id: one for one in family.models}
    if chosen in by_id:
        return by_id[chosen]
    loaded = [one for one in family.models if (place := session.place_of(one)) and engines.holds(place)]
    best = advice.recommendation
    return loaded[0] if loaded else family.first_choice(advice.fits, best.model if best else None)


def _draw_choices(family: Family, spec: ModelSpec) -> None:
    """Draw a control for each choice that there is."""
    options = {choice: family.options(choice, spec) for choice in CHOICES}
    with st.container(horizontal=True, gap="small"):
        for choice, values in options.items():
            if len(values) < 2:
                continue
            key = f"choose-{choice}-{_key(family.models[0])}"

            def choose(choice: str = choice, key: str = key) -> None:
                View.current().chosen[family.name] = family.nearest(spec, choice, st.session_state[key]).id

            st.session_state[key] = getattr(spec, choice)
            st.segmented_control(LABELS[choice], values, key=key, required=True, on_change=choose)


def _draw_others(family: Family, spec: ModelSpec, session: Session, work: Work) -> None:
    """Draw a link to each other model of the family that is here or on its way."""
    for other in family.models:
        download = work.downloads.get(other.id)
        is_coming = download is not None and not download.progress.is_over
        if other.id != spec.id and (is_coming or session.place_of(other)):
            state = "Downloading" if is_coming else "Ready"

            def show(other: ModelSpec = other) -> None:
                View.current().chosen[family.name] = other.id

            st.button(as_label(f"{state}: {other.name}"), key=f"show-{other.id}", type="tertiary", on_click=show)


def _key(spec: ModelSpec) -> str:
    return "".join(c if c.isalnum() else "-" for c in spec.id)


def _badge(spec: ModelSpec, engines: SharedEngine, session: Session) -> str:
    """Return a badge for where the model is, in Streamlit's Markdown."""
    place = session.place_of(spec)
    if place is None:
        return ":gray-badge[Not downloaded]" if isinstance(spec.source, RepoSource) else ":gray-badge[Missing]"
    if engines.holds(place):
        return ":green-badge[:material/memory: Loaded]"
    if isinstance(spec.source, ServerSource):
        return ":blue-badge[:material/cloud: On a server]"
    if isinstance(spec.source, PackageSource) and spec.path() in tuple(spec.source.places()):
        return ":orange-badge[:material/check: Built-in]"
    return ":orange-badge[:material/check: Ready]"


def _recommended_badge(is_best: bool) -> str:
    return " :green-badge[:material/star: Recommended]" if is_best else ""


def _draw_moving(spec: ModelSpec, fit: Fit | None, session: Session, work: Work, engines: SharedEngine) -> None:
    """Draw a download, a conversion or the loading, under way or just ended."""
    if download := work.downloads.get(spec.id):
        progress = download.progress
        if not progress.is_over:
            st.progress(progress.done / max(1, progress.size), text=as_label(download_text(progress)))
            st.button("Cancel", key=f"cancel-{spec.id}", icon=":material/close:", on_click=download.cancel)
        elif progress.doing == "failed":
            _draw_error(spec, progress.error, work)
        elif progress.doing == "cancelled":
            st.caption("Cancelled. *Download* continues where it stopped.")
            st.button("Discard", key=f"discard-{spec.id}", on_click=work.discard, args=(spec.id,))
    if conversion := work.conversions.get(spec.id):
        if not conversion.is_over:
            text = f"Converting to {conversion.target.name}: {conversion.share:.0%}"
            st.progress(conversion.share, text=as_label(text))
            st.button("Cancel", key=f"cancel-conversion-{spec.id}", icon=":material/close:", on_click=conversion.cancel)
        elif conversion.doing == "failed":
            _draw_error(spec, conversion.error, work)
        elif conversion.doing == "cancelled":
            st.caption("The conversion was cancelled. Nothing of it was kept.")
        elif conversion.target.exists():
            st.caption(as_label(f"Converted: {conversion.target.name} is here."))
    if engines.loading is not None and engines.loading == session.place_of(spec):
        whole = fit.plan.weights if fit else 0
        held = min(active_memory(), whole)
        st.progress(held / max(1, whole), text=as_label(f"Loading: {size(held)} of {size(whole)}"))
    elif spec.id in work.loads:
        st.caption(":shimmer[Waiting for the model in use …]")
    if error := work.errors.get(spec.id):
        _draw_error(spec, error, work)


def _draw_error(spec: ModelSpec, error: str, work: Work) -> None:
    st.error(as_label(error), icon=":material/error:")
    st.button("Close", key=f"close-{spec.id}", icon=":material/check:", on_click=work.dismiss, args=(spec.id,))


def _draw_get(spec: ModelSpec, work: Work, is_best: bool) -> None:
    if not isinstance(spec.source, RepoSource):
        st.caption(as_label(spec.how_to_get))
        return
    download = work.downloads.get(spec.id)
    is_coming = download is not None and not download.progress.is_over
    st.button(
        "Download",
        key=f"get-{spec.id}",
        icon=":material/download:",
        type="primary" if is_best else "secondary",
        disabled=is_coming,
        on_click=work.get,
        args=(spec,),
    )


def _draw_load(spec: ModelSpec, fit: Fit | None, session: Session, work: Work, engines: SharedEngine) -> None:
    def load() -> None:
        if place := session.place_of(spec):
            session.requested_model = spec.id
            work.load(spec.id, place, engines)

    place = session.place_of(spec)
    is_busy = spec.id in work.loads or (place is not None and engines.holds(place))
    st.button("Load", key=f"load-{spec.id}", icon=":material/play_arrow:", disabled=is_busy, on_click=load)
    if isinstance(spec.source, ServerSource):
        return
    with popover("Options", f"options-{_key(spec)}", ":material/tune:"):
        options = session.load_options.get(spec.id)
        longest = spec.context_length or (fit.plan.context if fit else 0) or 1 << 20
        context = st.number_input(
            "Context, in tokens",
            min_value=256,
            max_value=max(256, longest),
            step=256,
            value=options.context if options else None,
            placeholder="as long as fits",
            key=f"context-{spec.id}",
            help="A shorter context takes less memory.",
        )
        force = st.toggle(
            "Load it even if it doesn't seem to fit",
            value=bool(options and options.force),
            key=f"force-{spec.id}",
            help="The machine may become very slow or close Menny.",
        )
        if context is None and not force:
            session.load_options.pop(spec.id, None)
        else:
            session.load_options[spec.id] = LoadOptions(int(context) if context else None, force)


def _draw_convert(spec: ModelSpec, work: Work) -> None:
    path = spec.path()
    if path is None:
        return
    with popover("Convert", f"convert-{_key(spec)}", ":material/compress:"):
        bits = st.segmented_control(
            "Bits per weight", BITS, default=4, required=True, key=f"bits-{spec.id}", help="Fewer bits are smaller."
        )
        after = converted_bytes(path, bits)
        if after is None:
            st.caption("These files can't be converted.")
            return
        st.markdown(as_label(f"{size(_bytes_of(path))} now, about {size(after)} after conversion."))
        target = models_folder() / converted_name(spec.id, bits)
        st.caption(as_label(f"Written as {target.name} to the models folder."))

        def convert() -> None:
            close(f"convert-{_key(spec)}")
            work.dismiss(spec.id)
            try:
                work.conversions[spec.id] = Conversion(path, target, _quantization(spec, path, bits))
            except MennyError as error:
                work.errors[spec.id] = str(error)

        running = work.conversions.get(spec.id)
        is_under_way = running is not None and not running.is_over
        is_there = target.exists() and not is_under_way
        if is_there:
            st.caption(as_label(f"{target.name} already exists: remove it first to convert again."))
        off = is_under_way or is_there
        st.button("Convert now", key=f"convert-now-{spec.id}", type="primary", disabled=off, on_click=convert)


def _quantization(spec: ModelSpec, path: Path, bits: int) -> QuantizationConfig:
    """Return a quantization whose groups divide the model's widths. Raises ModelError where none do."""
    if bits == 16:
        return QuantizationConfig()
    group_size = fitting_group_size(path)
    if group_size is None:
        raise ModelError(
            f"{spec.name} can't be converted to {bits} bits, as its rows can't be divided into groups. Choose 16 bits."
        )
    return QuantizationConfig(bits=bits, group_size=group_size)


def converted_name(model_id: str, bits: int) -> str:
    """Return the folder name of a converted model; one in the catalogue is found under the name it has there."""
    name = re.sub(r"[^\w.-]+", "-", model_id.rsplit("/", 1)[-1].removesuffix(".gguf"))
    return f"{re.sub(r'-(4|8|16)-?bit$', '', name)}-{bits}bit"


def _bytes_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


def _draw_remove(spec: ModelSpec, engines: SharedEngine, session: Session) -> None:
    """Draw the button that deletes a model's files, or the user's own entry."""
    files, is_own = removable(spec), spec.id in own_ids(own_models_file())
    if files is None and not is_own:
        return

    def delete() -> None:
        close(f"remove-{_key(spec)}")
        with session.feedback.attempt(TOAST):
            if files is not None:
                remove(spec)
            if is_own:
                remove_entry(own_models_file(), spec.id)
            session.feedback.notice(TOAST, f"{spec.name} was removed.")

    place = session.place_of(spec)
    is_loaded = place is not None and engines.holds(place)
    with popover("Remove", f"remove-{_key(spec)}", ":material/delete:", disabled=is_loaded):
        question = f"Delete {files}?" if files else f"Remove {spec.name} from the list? Its files stay where they are."
        st.markdown(as_label(question))
        st.button("Remove for good", key=f"remove-now-{spec.id}", type="primary", on_click=delete)
