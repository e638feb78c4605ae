"""The preview of a persona that is being written: the model's instructions, and their number of tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from menny.chat import Instructions
from menny.engine import Tokenizer, load_tokenizer
from menny.errors import ConfigError, MennyError
from menny.messages import Message
from menny.models.catalogue import ModelSpec
from menny.moderation.guardrails import combine
from menny.personas.persona import Example, Persona
from menny.prompts import encode_chat, guess_template
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.sidebar.choices import DEFAULT_GUARDRAIL

QUESTION = Message("user", "?")  # stands where the conversation begins, and isn't counted


def draw_preview(values: Mapping[str, Any], options: Options, session: Session) -> None:
    """The texts as they are sent: the app's guardrail first, then those added, then the persona's own."""
    guardrail = options.settings.guardrail or DEFAULT_GUARDRAIL
    st.subheader("What the model gets", anchor=False)
    counted = st.empty()
    try:
        in_force = combine(guardrail, values["guardrails"], options.guardrails)
    except ConfigError as error:
        st.error(as_label(str(error)))
        return
    instructions = instructions_of(values, [one.text for one in in_force])
    st.code(instructions.system_text or "(nothing)", language=None, wrap_lines=True)
    for message in instructions.examples:
        st.caption("Example question" if message.role == "user" else "Example answer")
        st.code(message.content, language=None, wrap_lines=True)
    names = ", ".join(one.name for one in in_force) or "none"
    st.caption(
        as_label(f"Guardrails: {names}. The first is chosen in the chat's settings, and no persona can remove it.")
    )
    counted.caption("Counting …")
    counted.caption(as_label(_count(instructions, session, options)))


def instructions_of(values: Mapping[str, Any], guardrail_texts: Sequence[str]) -> Instructions:
    """The instructions of a persona that may not be complete yet."""
    persona = Persona.model_construct(
        id="draft",
        name=values["name"].strip(),
        system_prompt=values["system_prompt"].strip(),
        examples=tuple(
            Example.model_construct(user=one["user"].strip(), assistant=one["assistant"].strip())
            for one in values["examples"]
        ),
    )
    return Instructions.of(guardrail_texts, persona.system_text(), persona.example_messages())


def count_tokens(instructions: Instructions, tokenizer: Tokenizer, template: str | None) -> int:
    """The number of tokens that the instructions take of a prompt."""
    used = template or guess_template(tokenizer)
    system = [Message("system", instructions.system_text)] if instructions.system_text else []
    whole = encode_chat([*system, *instructions.examples, QUESTION], used, tokenizer)
    return len(whole) - len(encode_chat([QUESTION], used, tokenizer))


def token_counter(session: Session, options: Options) -> tuple[ModelSpec, Tokenizer] | None:
    """The model that counts tokens on this page, and its vocabulary; None where no model is here that can."""
    model, path = _model(session, options)
    if model is None or path is None:
        return None
    try:
        return model, _tokenizer(path, _age(path))
    except MennyError:
        return None


def _count(instructions: Instructions, session: Session, options: Options) -> str:
    model, path = _model(session, options)
    if model is None or path is None:
        words = len(" ".join([instructions.system_text, *(one.content for one in instructions.examples)]).split())
        return f"{words:,} words. No model is here to count tokens with."
    try:
        tokens = count_tokens(instructions, _tokenizer(path, _age(path)), model.template)
    except MennyError as error:
        return f"The tokens can't be counted: {error}"
    return f"{tokens:,} token{'s' if tokens != 1 else ''} in every prompt, counted by {model.name}"


def _model(session: Session, options: Options) -> tuple[ModelSpec | None, Path | None]:
    """The model that is chosen in the chat, else the first that is here."""
    models = [*options.models, *session.own_models]
    chosen = [session.model] if session.model else []
    present = ((model, model.path()) for model in [*chosen, *models])
    return next(((model, path) for model, path in present if path), (None, None))


def _age(path: Path) -> float:
    return path.stat().st_mtime


@st.cache_resource(show_spinner=False, max_entries=3)
def _tokenizer(path: Path, age: float) -> Tokenizer:
    del age  # it is here to be part of the cache's key
    return load_tokenizer(path)
