"""The start of a conversation: persona cards, a greeting, and suggestions for a first question."""

from collections.abc import Sequence

import streamlit as st

from menny.models.catalogue import ModelSpec
from menny.personas.cards import alternate_greetings
from menny.personas.persona import Persona
from menny.ui.chat.message_bar import Bar, message_bar
from menny.ui.models.hint import draw_model_hint
from menny.ui.safe_markdown import as_label, draw_markdown
from menny.ui.session import Session
from menny.ui.shared.pictures import avatar_of, draw_avatar, picture
from menny.ui.sidebar.choices import Choices
from menny.ui.sidebar.persona_panel import choose_persona


def draw_start_page(session: Session, choices: Choices, personas: Sequence[Persona]) -> None:
    """Draw picture, headline, persona cards, then the chosen persona's greeting and suggestions."""
    family = "Mixtral" if choices.model and "mixtral" in choices.model.name.lower() else "Mistral"
    with st.container(key="hero"):
        left, right = st.columns([2, 3], vertical_alignment="center")
        if drawn := picture(f"menny-{family.lower()}"):
            left.image(drawn, width="stretch", alt=f"Menny {family}")
        right.title("Who do you want to talk to?", anchor=False)
        right.caption(as_label(f"Your own chatbot. {_where_chats_go(choices.model)}"))
        with right:
            draw_model_hint(session)
    with st.grid("auto", min_column_width=150, gap="xsmall", key="cards"):
        for persona in personas:
            _card(persona, is_chosen=persona.id == choices.persona.id)
    _greeting(session, choices.persona, can_ask=choices.can_answer)


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


def _greeting(session: Session, persona: Persona, can_ask: bool) -> None:
    if persona.greeting:
        with st.chat_message(persona.name, avatar=avatar_of(persona)):
            _draw_greeting(session, persona)
    # Buttons, though pills look the same: while a reply is drawn the browser keeps sending the chosen pill, and after
    # each reset it counts as a new choice.
    with st.container(horizontal=True, gap="xsmall", key="suggestions"):
        for number, text in enumerate(persona.suggestions):
            key = f"suggestion-{number}"
            st.button(as_label(text), key=key, disabled=not can_ask, on_click=session.ask, args=(text,))


def _draw_greeting(session: Session, persona: Persona) -> None:
    """Draw the greeting, with arrows where a card brought others."""
    greetings = [persona.greeting, *alternate_greetings(persona)]
    places = [str(place) for place in range(len(greetings))]
    at = session.greetings.get(persona.id, "0")
    greeting = greetings[places.index(at) if at in places else 0]

    def use(_: str, value: str) -> None:
        session.greetings[persona.id] = value

    draw_markdown(persona.greeting_text(greeting=greeting))
    if len(greetings) > 1:
        message_bar(Bar("", "", alternatives=places, this=at), f"greeting-{persona.id}", use)
