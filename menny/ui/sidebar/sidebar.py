"""The sidebar: chats, model, persona, guardrail, moderation, memory and sampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from menny.chat.prompt_builder import Usage
from menny.chat.settings import ReplySettings
from menny.engine import SamplingParams
from menny.errors import ConfigError
from menny.models.catalogue import ModelSpec, resolve
from menny.models.loader import ModelSource, notice_of
from menny.personas.persona import Parameters, Persona
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, set_default
from menny.ui.shared.feedback import ABOVE_BOX, OWN_MODEL
from menny.ui.shared.options import Options
from menny.ui.shared.sampling_form import NumberField, draw_number, draw_slider, values_of
from menny.ui.shared.shared_engine import shared_engine
from menny.ui.sidebar.chat_files import draw_files
from menny.ui.sidebar.guardrail_panel import ActiveInstructions, choose_guardrail
from menny.ui.sidebar.memory_panel import choose_memory, draw_meter
from menny.ui.sidebar.moderation_panel import choose_moderation
from menny.ui.sidebar.thinking_panel import choose_thinking, draw_budget

MOST_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Choices:
    """The settings of the next reply. `source` is None where the model isn't on this machine."""

    persona: Persona
    model: ModelSpec | None
    source: ModelSource | None
    instructions: ActiveInstructions
    settings: ReplySettings
    usage: Usage | None = None  # of the model's context, once it is known
    error: str = ""  # why nothing can be sent, if nothing can

    @property
    def can_answer(self) -> bool:
        return self.source is not None and not self.error


def draw_sidebar(session: Session, options: Options) -> tuple[Choices, "st.delta_generator.DeltaGenerator"]:
    """Draw it; return the choices and the container for the chats. A reply under way keeps its own settings."""
    persona = _chosen_persona(session, options)
    set_default(_sampling_of(persona))
    with st.sidebar:
        st.button(
            "New chat",
            key="new_chat",
            icon=":material/edit_square:",
            width="stretch",
            on_click=session.open,
            args=("",),
            help="Ctrl Shift O",
        )
        chats = st.container(gap="xsmall")
        model, source, error = _choose_model(session, options.chat_models)
        _choose_persona(options)
        active = choose_guardrail(persona, options.guardrails)
        moderation = choose_moderation(options.moderation) if options.moderation else None
        thinking = choose_thinking(model, source)
        memory = choose_memory()
        meter = st.container()
        params = _choose_sampling()
        template = model.template if model else None
        settings = ReplySettings(params, active.instructions, template, memory, moderation, thinking=thinking)
        with meter:
            usage = draw_meter(session, shared_engine().engine_of(source) if source else None, settings)
        draw_files(session)
        _draw_errors(options.errors)
    error = active.error or options.error or error
    return Choices(persona, model, source, active, settings, usage, error), chats


def _choose_model(session: Session, listed: Sequence[ModelSpec]) -> tuple[ModelSpec | None, ModelSource | None, str]:
    """Draw the choice; return the model, what its engine is made of, and an error where it has been removed."""
    models = {spec.id: spec for spec in [*listed, *session.own_models]}
    paths = {model_id: session.place_of(spec) for model_id, spec in models.items()}
    present = [model_id for model_id, path in paths.items() if path]
    if session.requested_model in models:
        st.session_state["model"] = session.requested_model
    session.requested_model = ""
    removed = _removed_model(session, models)
    if removed:
        models, paths = models | {removed.id: removed}, paths | {removed.id: None}
    if not models:
        return None, None, ""
    if st.session_state.get("model") not in models:
        st.session_state["model"] = (present or list(models))[0]
    notes = {model_id: "" if path else " · not here yet" for model_id, path in paths.items()}
    notes |= {removed.id: " · removed"} if removed else {}
    st.selectbox(
        "Model",
        list(models),
        key="model",
        persist_state="session",
        format_func=lambda model_id: models[model_id].name + notes[model_id],
    )
    model = session.model = models[st.session_state["model"]]
    if model.good_for:
        st.caption(as_label(model.good_for))
    source = paths[model.id]
    if source and (notice := notice_of(shared_engine().engine_of(source))):
        st.caption(as_label(notice))
    _add_own_model(session, list(models.values()))
    is_removed = removed is not None and model.id == removed.id
    error = f"{model.name} is no longer on this machine. Choose another model in the sidebar." if is_removed else ""
    return model, paths[model.id], error


def _removed_model(session: Session, models: Mapping[str, ModelSpec]) -> ModelSpec | None:
    """Return the chosen model if it has been removed: it stays chosen, so that no other answers in its place."""
    is_chosen = session.model is not None and session.model.id == st.session_state.get("model")
    return session.model if session.model and is_chosen and session.model.id not in models else None


def _add_own_model(session: Session, known: Sequence[ModelSpec]) -> None:
    def add() -> None:
        with session.feedback.attempt(OWN_MODEL):
            spec = resolve(st.session_state["own_model"], known)
            if spec.id not in {one.id for one in known}:
                session.own_models.append(spec)
            st.session_state["model"] = spec.id

    with st.expander("A model of your own", type="compact"):
        st.text_input(
            "Folder or .gguf file",
            key="own_model",
            placeholder="/path/to/model",
            on_change=add,
            persist_state="session",
        )
        if error := session.feedback.errors.get(OWN_MODEL):
            st.error(as_label(error))


def _chosen_persona(session: Session, options: Options) -> Persona:
    """Return the chosen persona, or the first if its file has been removed, with a notice."""
    set_default({"persona": options.personas[0].id})
    persona, before = options.persona(st.session_state["persona"]), session.persona
    if before and before.id == st.session_state["persona"] != persona.id:
        choose_persona(persona)
        sentence = f"{before.name} is no longer here, so {persona.name} answers. You can choose another persona."
        session.feedback.notice(ABOVE_BOX, sentence)
    session.persona = persona
    return persona


def _choose_persona(options: Options) -> None:
    names = {persona.id: persona.name for persona in options.personas}
    st.selectbox(
        "Persona",
        list(names),
        key="persona",
        persist_state="session",
        format_func=lambda persona_id: names[persona_id],
        on_change=lambda: adopt_parameters(options.persona(st.session_state["persona"])),
    )


def choose_persona(persona: Persona) -> None:
    """Select a persona from elsewhere on the page, before the sidebar is drawn."""
    st.session_state["persona"] = persona.id
    adopt_parameters(persona)


def choose_model(model_id: str) -> None:
    """Select a model from elsewhere on the page, before the sidebar is drawn."""
    st.session_state["model"] = model_id


def adopt_parameters(persona: Persona) -> None:
    """Set the fields to a persona's parameters, except for the seed."""
    for key, value in _sampling_of(persona).items():
        if key != "seed":
            st.session_state[key] = value


def _sampling_of(persona: Persona) -> dict[str, object]:
    """The values of the sidebar's fields that a persona brings, by key."""
    given = persona.parameters.model_dump()
    most = {"max_tokens": MOST_TOKENS}
    return {
        **{name: NumberField.of(name).clamp(value, most.get(name)) for name, value in given.items()},
        "seed": None,
        "thinking": persona.thinking,
        "memory": persona.memory.strategy,
        "memory_turns": persona.memory.turns,
        "memory_all_chats": persona.memory.all_chats,
    }


def _choose_sampling() -> SamplingParams:
    """Draw a field for each parameter, those that matter most in sight."""
    draw_slider("temperature")
    draw_slider("max_tokens", MOST_TOKENS)
    with st.expander("Advanced", icon=":material/tune:"):
        draw_slider("top_p")
        draw_number("top_k", "top_k")
        draw_slider("min_p")
        draw_slider("repetition_penalty")
        seed = st.number_input(
            "Seed",
            0,
            2**31 - 1,
            step=1,
            key="seed",
            persist_state="session",
            placeholder="random",
            help="The same seed gives the same reply.",
        )
        draw_budget()
    return SamplingParams(**values_of(Parameters.model_fields), seed=None if seed is None else int(seed))


def _draw_errors(errors: Sequence[ConfigError]) -> None:
    if not errors:
        return
    title = "A file has an error" if len(errors) == 1 else f"{len(errors)} files have errors"
    with st.expander(title, icon=":material/warning:", expanded=True):
        for error in errors:
            st.warning(as_label(str(error)))
