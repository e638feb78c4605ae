"""Moderation on the page: its settings in the sidebar, and how a result is shown."""

from collections.abc import Sequence

import streamlit as st

from menny.config.paths import models_folder
from menny.errors import ModelError
from menny.models.beside import AS_JUDGE, beside
from menny.models.catalogue import ModelSpec, local_spec
from menny.models.loader import ModelSource, source_of
from menny.moderation.categories import ModerationFile
from menny.moderation.policy import ACTIONS, Moderation, ModerationResult, Policy, Side
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.moderators import lending, shared_moderators
from menny.ui.shared.options import Options
from menny.ui.shared.shared_engine import shared_engine, shared_judge
from menny.ui.shared.widget_values import show
from menny.ui.sidebar.fold import MODERATION, fold

SIDES: Sequence[tuple[Side, str]] = (("messages", "Your messages"), ("replies", "Replies"))


def moderation_of(options: Options) -> Moderation | None:
    """Return the moderation in force; None where all is off."""
    if options.moderation is None:
        return None
    policy, judge = _policy(options.moderation, options), judge_of(options)
    return shared_moderators().moderation(options.moderation, policy, lending(judge) if judge else None)


def judge_of(options: Options) -> ModelSpec | None:
    """Return the model that judges: the chosen one, also where it is no longer here; None: the one that answers does.

    No other takes the place of one that is gone: its checks fail, and say so.
    """
    chosen = options.settings.moderation.judge
    if not chosen:
        return None
    return next((spec for spec in options.judges if spec.id == chosen), local_spec(models_folder() / chosen, chosen))


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
    with fold(session, "Moderation", MODERATION, icon=icon) as box:
        if not box.open:
            return
        st.caption("Each message is checked before it is sent, and each reply once it is complete, in all chats.")
        _choose_judge(session, options)
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


def _choose_judge(session: Session, options: Options) -> None:
    """Draw who checks, and whether a judge fits beside the model that chats."""
    chosen = judge_of(options)
    present = [spec for spec in options.judges if source_of(spec)]
    names = {"": "The model that answers"} | {spec.id: spec.name for spec in present}
    if chosen and chosen.id not in names:
        names[chosen.id] = f"{chosen.name} · not on this machine"
    if len(names) == 1:
        better = next((spec.name for spec in options.judges), "")
        hint = f" {better}, on the Models page, is made for it." if better else ""
        st.caption(as_label(f"The model that answers does this too. Small models often misjudge.{hint}"))
        return
    show({"judge": chosen.id if chosen else ""})
    st.selectbox(
        "Checked by", list(names), key="judge", format_func=names.__getitem__, on_change=_keep_judge, args=(session,)
    )
    source = source_of(chosen, AS_JUDGE) if chosen else None
    if source:
        st.caption(as_label(_room_for(source, session)))
    elif chosen:
        st.warning(as_label(f"{chosen.name} isn't on this machine, so no text can be checked."))


def _room_for(judge: ModelSource, session: Session) -> str:
    """Return whether a judge fits beside the chosen model, in a sentence."""
    if shared_judge().holds(judge):
        return "Loaded, beside the model that you chat with."
    model = session.model
    chat = session.place_of(model) if model else None
    try:
        is_loaded = chat is not None and shared_engine().holds(chat)
        return str(beside(judge.place, chat.place if chat else None, model.name if model else "the model", is_loaded))
    except ModelError as error:
        return str(error)


def _keep_judge(session: Session) -> None:
    """Keep the choice, and let go of models that were loaded for another one, unless they are in use."""
    session.set_app(moderation={"judge": st.session_state["judge"] or None})
    shared_judge().unload()
    if st.session_state["judge"]:
        shared_engine().unload()  # it is loaded again with a context that leaves room for the judge


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
