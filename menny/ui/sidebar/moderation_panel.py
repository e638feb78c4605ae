"""Moderation on the page: its settings in the sidebar, and how a result is shown."""

from collections.abc import Sequence

import streamlit as st

from menny.moderation.categories import ModerationFile
from menny.moderation.policy import ACTIONS, Moderation, ModerationResult, Policy, Side
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, show
from menny.ui.shared.moderators import shared_moderators
from menny.ui.shared.options import Options

SIDES: Sequence[tuple[Side, str]] = (("messages", "Your messages"), ("replies", "Replies"))


def moderation_of(options: Options) -> Moderation | None:
    """Return the moderation in force; None where all is off."""
    if options.moderation is None:
        return None
    policy = _policy(options.moderation, options)
    return shared_moderators().moderation(options.moderation, policy)


def _policy(categories: ModerationFile, options: Options) -> Policy:
    """Return the actions that the user has chosen, else those of configs/moderation.yaml."""
    stated, chosen = Policy.of(categories), options.settings.moderation
    return Policy({**stated.messages, **chosen.messages}, {**stated.replies, **chosen.replies})


def choose_moderation(session: Session, options: Options) -> None:
    """Draw the action for every category, for messages and replies, in all chats."""
    if (categories := options.moderation) is None:
        return
    policy = _policy(categories, options)
    icon = ":material/policy:" if policy.is_off else ":material/verified_user:"
    with st.expander("Moderation", icon=icon, key="moderation"):
        st.caption(
            "The model itself checks each message before it is sent, and each reply once it is complete, in all "
            "chats. Small models often misjudge."
        )
        for category in categories.categories:
            st.markdown(f"**{as_label(category.name)}**", help=as_label(category.description))
            for column, (side, heading) in zip(st.columns(2, gap="xsmall"), SIDES, strict=True):
                key = _key(side, category.id)
                show({key: policy.action(side, category.id)})
                column.selectbox(
                    heading,
                    ACTIONS,
                    key=key,
                    format_func=str.capitalize,
                    on_change=_keep,
                    args=(session, side, category.id),
                )


def _keep(session: Session, side: Side, category: str) -> None:
    session.set_app(moderation={side: {category: st.session_state[_key(side, category)]}})


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
