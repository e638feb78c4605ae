"""The choice of who the user is in the open chat, and the question for their name."""

import streamlit as st

from menny.errors import MennyError
from menny.personas.profiles import NOBODY, ProfileFile
from menny.text import is_blank, sanitize
from menny.ui.personas.profile_editor import open_profile
from menny.ui.personas.profile_store import keep_profile
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import ABOVE_BOX
from menny.ui.shared.options import Options
from menny.ui.shared.widget_values import show
from menny.ui.shared.you import You, names_of

NAME = "your_name"  # the key of the field for it
QUESTION = "What should Menny call you?"


def choose_profile(session: Session, options: Options, you: You) -> None:
    """Draw the choice of a profile for the open chat; without one, the question for a name."""
    if not options.profiles:
        draw_question(session)
        return
    names = {NOBODY: "No name", **names_of(options.profiles)}
    show({"profile": you.profile.id if you.profile else NOBODY})
    st.selectbox(
        "You",
        list(names),
        key="profile",
        format_func=lambda profile_id: as_label(names[profile_id]),
        help="Who you are in this chat.",
        on_change=lambda: session.choose(profile=st.session_state["profile"]),
    )
    with st.container(horizontal=True, gap="small"):
        if you.profile:
            st.button(
                "Edit profile", key="edit_profile", type="tertiary", on_click=open_profile, args=(you.profile.id,)
            )
        st.button("New profile", key="new_profile", type="tertiary", on_click=open_profile, args=("",))


def draw_question(session: Session, *, can_decline: bool = False) -> None:
    """Draw the field for the user's name, which makes their first profile."""
    key = f"{NAME}_start" if can_decline else NAME

    def answer() -> None:
        name = " ".join(sanitize(st.session_state[key] or "").split())
        if is_blank(name):
            return
        try:
            profile_id = keep_profile(ProfileFile(name=name))
        except MennyError as error:
            session.feedback.error(ABOVE_BOX, str(error))
            return
        session.set_app(profile=profile_id)

    st.text_input(
        QUESTION,
        key=key,
        max_chars=60,
        placeholder=QUESTION if can_decline else "Your name",
        label_visibility="collapsed" if can_decline else "visible",
        on_change=answer,
        width=270 if can_decline else "stretch",
        help=None if can_decline else "Personas will use it.",
    )
    if can_decline:
        st.button("Not now", key="no_name", type="tertiary", on_click=lambda: session.set_app(profile=""))
