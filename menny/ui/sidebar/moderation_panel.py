"""Moderation on the page: its settings in the sidebar, and how a result is shown."""

from collections.abc import Sequence

import streamlit as st

from menny.moderation.categories import ModerationFile
from menny.moderation.policy import ACTIONS, Moderation, ModerationResult, Policy, Side
from menny.ui.safe_markdown import as_label
from menny.ui.session import set_default
from menny.ui.shared.moderators import shared_moderators

SIDES: Sequence[tuple[Side, str]] = (("messages", "Your messages"), ("replies", "Replies"))


def choose_moderation(categories: ModerationFile) -> Moderation | None:
    """Draw the action for every category, for messages and replies; return None where all are off."""
    set_default({_key(side, one.id): getattr(one, side) for one in categories.categories for side, _ in SIDES})
    with st.expander("Moderation", icon=":material/policy:", key="moderation"):
        st.caption(
            "The model itself checks each message before it is sent, and each reply once it is complete. "
            "Small models often misjudge."
        )
        for category in categories.categories:
            st.markdown(f"**{as_label(category.name)}**", help=as_label(category.description))
            for column, (side, heading) in zip(st.columns(2, gap="xsmall"), SIDES, strict=True):
                column.selectbox(
                    heading,
                    ACTIONS,
                    key=_key(side, category.id),
                    format_func=str.capitalize,
                    persist_state="session",
                )
    chosen = {
        side: {one.id: st.session_state[_key(side, one.id)] for one in categories.categories} for side, _ in SIDES
    }
    return shared_moderators().moderation(categories, Policy(**chosen))


def _key(side: Side, category: str) -> str:
    return f"moderate-{side}-{category}"


def draw_warning(result: ModerationResult) -> None:
    """Draw the warning below a message."""
    st.caption(f":material/policy: {as_label(f'Sent with a warning: {result.sentence}')}")


def draw_withheld(result: ModerationResult) -> None:
    """Draw a notice in place of a blocked reply."""
    st.warning(as_label(f"This reply was withheld: {result.sentence}"), icon=":material/policy:")


def folded_away(result: ModerationResult, key: str) -> "st.delta_generator.DeltaGenerator":
    """Return a folded container, labelled with the reason, for a reply with a warning."""
    why = f"Folded away: {result.sentence} Open to read it anyway."
    return st.expander(as_label(why), icon=":material/policy:", key=key)
