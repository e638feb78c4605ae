"""The start of a conversation: persona cards, a greeting, and suggestions for a first question."""

from collections.abc import Sequence

import streamlit as st

from menny.errors import StorageError
from menny.models.catalogue import ModelSpec
from menny.personas.cards import greetings_of
from menny.personas.persona import Persona
from menny.storage import Opening
from menny.ui.chat.message_bar import Bar, message_bar
from menny.ui.models.hint import draw_model_hint
from menny.ui.safe_markdown import as_label, draw_markdown
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.pictures import avatar_of, draw_avatar, picture
from menny.ui.shared.you import keep_settled
from menny.ui.sidebar.choices import Choices
from menny.ui.sidebar.persona_panel import choose_persona
from menny.ui.sidebar.profile_panel import draw_question


def prepare_chat(session: Session, choices: Choices) -> None:
    """Let a chat without a message begin with the persona's greeting, once the user sends their first."""
    keep_settled(session.chat, session.chosen, choices.you.profile)
    greetings = _greetings(choices)
    at = _shown(session, choices.persona, greetings)
    session.chat.begin_with(Opening(tuple(greetings), at, choices.persona.id) if greetings else None)


def draw_start_page(session: Session, choices: Choices, options: Options) -> None:
    """Draw picture, headline, persona cards, then the chosen persona's greeting and suggestions."""
    family = "Mixtral" if choices.model and "mixtral" in choices.model.name.lower() else "Mistral"
    with st.container(key="hero"):
        left, right = st.columns([2, 3], vertical_alignment="center")
        if drawn := picture(f"menny-{family.lower()}"):
            left.image(drawn, width="stretch", alt=f"Menny {family}")
        right.title("Who do you want to talk to?", anchor=False)
        right.caption(as_label(f"Your own chatbot. {_where_chats_go(choices.model)}"))
        with right:
            _draw_questions(session, options)
    with st.grid("auto", min_column_width=150, gap="xsmall", key="cards"):
        for persona in options.personas:
            _card(persona, is_chosen=persona.id == choices.persona.id)
    _greeting(session, choices)


def _draw_questions(session: Session, options: Options) -> None:
    """Draw the question for the user's name or the model hint, one at a time: with both, the greeting is out of sight.

    The name is asked for first; once there are chats, the hint comes first, for whoever ignored the question.
    """
    asks = not options.profiles and options.settings.profile is None
    if not draw_model_hint(session, options.chat_models, only_download=asks and not _has_chats(session)) and asks:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="your-name"):
            draw_question(session, can_decline=True)


def _has_chats(session: Session) -> bool:
    try:
        return bool(session.chats.store and session.chats.store.conversations(limit=1))
    except StorageError:  # the list of chats says so
        return False


def _where_chats_go(model: ModelSpec | None) -> str:
    if model and model.host:
        return f"What you say to {model.name} is sent to {model.host}."
    return "Your chats stay on this machine."


def _card(persona: Persona, is_chosen: bool) -> None:
    """Draw a card; an invisible button covers all of it."""
    key = f"card-{'chosen' if is_chosen else 'other'}-{persona.id}"
    with st.container(key=key, border=True, height="stretch", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
            draw_avatar(persona, 36)
            st.markdown(f"**{as_label(persona.name)}**", wrap=False)
        st.caption(as_label(persona.tagline))
        st.button(
            as_label(f"Talk to {persona.name}"), key=f"talk-{persona.id}", on_click=choose_persona, args=(persona,)
        )


def _greetings(choices: Choices) -> list[str]:
    return greetings_of(choices.persona, choices.you.name, choices.you.draws)


def _shown(session: Session, persona: Persona, greetings: Sequence[str]) -> int:
    """The number of the greeting that is shown."""
    at = session.greetings.get(persona.id, 0)
    return at if at < len(greetings) else 0


def _greeting(session: Session, choices: Choices) -> None:
    persona = choices.persona
    if greetings := _greetings(choices):
        with st.container(key="opening"), st.chat_message(persona.name, avatar=avatar_of(persona)):
            _draw_greeting(session, persona, greetings)
    # Buttons, though pills look the same: while a reply is drawn the browser keeps sending the chosen pill, and after
    # each reset it counts as a new choice.
    with st.container(horizontal=True, gap="xsmall", key="suggestions"):
        for number, text in enumerate(persona.suggestions):
            key = f"suggestion-{number}"
            st.button(as_label(text), key=key, disabled=not choices.can_answer, on_click=session.ask, args=(text,))


def _draw_greeting(session: Session, persona: Persona, greetings: Sequence[str]) -> None:
    """Draw the greeting, with arrows where there are others."""
    at = _shown(session, persona, greetings)

    def use(_: str, value: str) -> None:
        session.greetings[persona.id] = int(value)

    draw_markdown(greetings[at])
    if len(greetings) > 1:
        places = [str(place) for place in range(len(greetings))]
        message_bar(Bar("", "", alternatives=places, this=str(at)), f"greeting-{persona.id}", use)
