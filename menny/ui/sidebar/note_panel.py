"""What guides the open chat: a note that the model reads every few turns, and the beginning of each reply."""

import streamlit as st

from menny.chat.chat_settings import ChatSettings
from menny.chat.note import DEPTH, LONGEST, MOST_DEPTH
from menny.ui.session import Session
from menny.ui.shared.widget_values import show
from menny.ui.sidebar.fold import GUIDE, fold

NOTE, TURNS, BEGINNING = "note", "note_depth", "beginning"
HELP = """What the model should keep in mind in this chat, such as “It is raining, and they whisper.”

It is sent with your next message, and again after some turns. What was sent with earlier messages stays there."""


def depth_of(chosen: ChatSettings) -> int:
    """Return after how many turns the note is sent again, as chosen."""
    return min(max(DEPTH if chosen.note_depth is None else chosen.note_depth, 1), MOST_DEPTH)


def guide_chat(session: Session) -> None:
    """Draw the note, after how many turns it is sent again, and the beginning of replies, folded away."""
    chosen = session.chosen

    def keep(key: str) -> None:
        session.choose(**{key: st.session_state[key] or None})

    icon = ":material/sticky_note_2:" if chosen.note or chosen.beginning else None
    with fold(session, "Guide this chat", GUIDE, icon=icon, type="compact") as box:
        if not box.open:
            return
        show({NOTE: chosen.note, TURNS: depth_of(chosen), BEGINNING: chosen.beginning})
        st.text_area("Note", key=NOTE, max_chars=LONGEST, height=100, help=HELP, on_change=keep, args=(NOTE,))
        label = "Turns until it is sent again"
        st.number_input(label, 1, MOST_DEPTH, step=1, key=TURNS, on_change=keep, args=(TURNS,))
        st.text_input(
            "Begin each reply with",
            key=BEGINNING,
            max_chars=LONGEST,
            help="Every new reply in this chat starts with this text, and the model goes on from there.",
            on_change=keep,
            args=(BEGINNING,),
        )
