"""The choice of the model that answers in the open chat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from menny.models.catalogue import ModelSpec, resolve
from menny.models.loader import ModelSource, notice_of
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import ABOVE_BOX, OWN_MODEL
from menny.ui.shared.options import Options
from menny.ui.shared.shared_engine import shared_engine
from menny.ui.shared.widget_values import show
from menny.ui.sidebar.fold import ADDING, fold


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models to choose from by id, those that are here first, and the chosen one.

    `sources` tells what an engine is made of; None for a model that isn't on this machine.
    """

    models: Mapping[str, ModelSpec]
    sources: Mapping[str, ModelSource | None]
    model: ModelSpec | None = None
    removed: str = ""  # the id of a chosen model that is no longer listed

    @property
    def source(self) -> ModelSource | None:
        return self.sources[self.model.id] if self.model else None

    @property
    def error(self) -> str:
        """Why the chosen model can't answer, where it has been removed."""
        if self.model is None or self.model.id != self.removed:
            return ""
        return f"{self.model.name} is no longer on this machine. Choose another model in the settings."


def chosen_model(session: Session, options: Options) -> ModelChoice:
    """Return the open chat's model: as chosen, else that of its last reply, else the one that new chats begin with."""
    listed = {spec.id: spec for spec in [*options.chat_models, *session.own_models]}
    sources = {model_id: session.place_of(spec) for model_id, spec in listed.items()}
    models = dict(sorted(listed.items(), key=lambda item: sources[item[0]] is None))
    if session.requested_model in models:
        choose_model(session.requested_model)
    session.requested_model = ""
    present = [model_id for model_id in models if sources[model_id]]
    default = options.settings.model or ""
    if default not in models:
        default = next(iter(present or models), "")
    chosen = session.stand_in or session.chosen.model
    if not chosen and session.chat.entries:
        chosen = session.chat.entries[-1].model
    if session.is_just_opened and chosen and chosen not in present and default:
        before = models[chosen].name if chosen in models else chosen
        sentence = f"{before} wrote this chat and isn't on this machine. {models[default].name} answers from here on."
        session.feedback.notice(ABOVE_BOX, sentence)
        chosen = session.stand_in = default
    session.is_just_opened = False
    removed = session.model if session.model and session.model.id == chosen not in models else None
    if removed:  # it stays chosen, so that no other answers in its place
        models, sources = models | {removed.id: removed}, sources | {removed.id: None}
    if chosen not in models:
        chosen = default
    session.model = models.get(chosen)
    return ModelChoice(models, sources, session.model, removed.id if removed else "")


def draw_model(session: Session, choice: ModelChoice) -> None:
    """Draw the choice, and what there is to know of the model."""
    if choice.model is None:
        return
    models = choice.models
    notes = {model_id: "" if source else " · not downloaded" for model_id, source in choice.sources.items()}
    notes |= {choice.removed: " · removed"}
    show({"model": choice.model.id})
    st.selectbox(
        "Model",
        list(models),
        key="model",
        format_func=lambda model_id: models[model_id].name + notes[model_id],
        on_change=lambda: choose_model(st.session_state["model"]),
    )
    if choice.model.good_for:
        st.caption(as_label(choice.model.good_for))
    if choice.source and (notice := notice_of(shared_engine().engine_of(choice.source))):
        st.caption(as_label(notice))
    _add_own_model(session, list(models.values()))


def choose_model(model_id: str) -> None:
    """Let a model answer in the open chat, and in new ones."""
    session = Session.current()
    session.choose_model(model_id)
    session.set_app(model=model_id)


def _add_own_model(session: Session, known: Sequence[ModelSpec]) -> None:
    def add() -> None:
        with session.feedback.attempt(OWN_MODEL):
            if not (typed := str(st.session_state["own_model"] or "").strip()):
                return
            spec = resolve(typed, known)
            if spec.id not in {one.id for one in known}:
                session.own_models.append(spec)
            session.choose_model(spec.id)

    with fold(session, "A model of your own", ADDING, type="compact") as box:
        if not box.open:
            return
        st.text_input(
            "Folder or .gguf file",
            key="own_model",
            placeholder="/path/to/model",
            on_change=add,
            persist_state="session",
        )
        if error := session.feedback.errors.get(OWN_MODEL):
            st.error(as_label(error))
