"""The choice of how long chats are kept, and the notice on a chat that isn't kept at all."""

import streamlit as st

from menny.ui.session import Session

DAYS = (7, 30, 90, 365)
ASKED = "asked_days"  # in the session's state: the days that were chosen, while the question about them is open


def choose_deletion(session: Session, days: int | None) -> None:
    """Draw the choice of days without a message after which chats go to the bin.

    Where some would go there at once, the choice holds only after a question.
    """

    def choose() -> None:
        chosen = st.session_state["delete_chats_after"]
        if chosen and session.chats.untouched(chosen):
            st.session_state[ASKED] = chosen
        else:
            st.session_state.pop(ASKED, None)
            session.set_app(delete_chats_after=chosen or None)

    options = sorted({0, *DAYS, days or 0})  # an option None would be shown as no choice at all
    st.session_state["delete_chats_after"] = days or 0
    st.selectbox(
        "Delete old chats",
        options,
        key="delete_chats_after",
        format_func=lambda one: f"After {one} day{'s' if one != 1 else ''}" if one else "Never",
        on_change=choose,
        help="Chats with no new message for this long go to the bin, where you can restore them for 30 days. "
        "Pinned chats stay.",
    )
    if asked := st.session_state.get(ASKED):
        _ask(session, asked)


def _ask(session: Session, days: int) -> None:
    """Draw the question before chats go to the bin."""
    number = session.chats.untouched(days)

    def agree() -> None:
        st.session_state.pop(ASKED, None)
        session.set_app(delete_chats_after=days)

    which = "1 chat has" if number == 1 else f"{number:,} chats have"
    they, them = ("It", "it") if number == 1 else ("They", "them")
    st.caption(
        f"{which} had no message for {days} days. {they} will go to the bin, where you can restore {them} for 30 days."
    )
    with st.container(horizontal=True, gap="xsmall"):
        st.button(f"Delete after {days} days", key="agree-days", type="primary", on_click=agree)
        st.button("Cancel", key="cancel-days", on_click=lambda: st.session_state.pop(ASKED, None))


def draw_temporary(session: Session) -> None:
    """Draw what a temporary chat is, and a button that keeps it after all."""
    if not session.chat.is_temporary:
        st.empty()
        return
    with st.container(key="temporary", horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption(
            ":material/visibility_off: **Temporary chat.** It isn't saved: it is gone when you open another chat, or "
            "close or reload this page.",
            width="stretch",
        )
        if session.chat.entries and session.chats.store:
            st.button(
                "Keep it", key="keep-chat", icon=":material/save:", on_click=session.attempting(session.keep_chat)
            )
