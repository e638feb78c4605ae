"""The choice of a memory strategy in the sidebar, and the meter of the model's context."""

from collections.abc import Mapping, Sequence
from typing import get_args

import streamlit as st

from menny.chat.memory import Memory, Strategy, Summary
from menny.chat.prompt_builder import Usage
from menny.chat.settings import ReplySettings
from menny.engine_protocols import Engine
from menny.errors import MennyError, PromptTooLongError
from menny.storage import MessageNode
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.widget_values import show

NAMES: Mapping[str, str] = {
    "recent": "Recent turns",
    "turns": "Last turns",
    "everything": "Everything",
    "summary": "Recent turns and a summary",
    "summary-and-turns": "Last turns and a summary",
    "retrieval": "Recent turns and what fits the question",
}
HELP = """How much of a long chat the model sees, as its context is limited.

- **Recent turns**: as many as fit.
- **Last turns**: a fixed number before the question.
- **Everything**: the whole chat, until it no longer fits.
- **… and a summary**: the model also gets a summary of older messages, which it updates now and then.
- **… and what fits the question**: earlier messages that bear on it are looked up and put before it."""


def choose_memory(session: Session, memory: Memory) -> None:
    """Draw the choice, and the number of turns for strategies that keep a number."""
    show({"memory": memory.strategy, "memory_turns": memory.turns, "memory_all_chats": memory.all_chats})

    def keep(key: str) -> None:
        session.choose(**{key: st.session_state[key]})

    st.selectbox(
        "Memory",
        get_args(Strategy),
        key="memory",
        format_func=lambda strategy: NAMES[strategy],
        help=HELP,
        on_change=keep,
        args=("memory",),
    )
    if memory.names_turns:
        label = "Turns before the question"
        st.number_input(label, 0, 1000, step=1, key="memory_turns", on_change=keep, args=("memory_turns",))
    if memory.recalls:
        label = "Look into other chats with this persona too"
        st.checkbox(label, key="memory_all_chats", on_change=keep, args=("memory_all_chats",))


def usage_of(session: Session, engine: Engine | None, settings: ReplySettings) -> tuple[Usage | None, str]:
    """Return how the next prompt will use the context, or how the reply under way uses it.

    Without the engine tokens can't be counted: then it is the last reply's usage. With it a sentence, where the whole
    chat should fit and no longer does.
    """
    usage = _last_usage(session)
    if engine is not None and session.job is None:
        try:
            usage = session.chat.estimate_usage(engine, settings)
        except MennyError as error:  # sending a message shows it
            if settings.memory.strategy == "everything" and isinstance(error, PromptTooLongError):
                return usage, str(error)
    return usage, ""


def draw_meter(usage: Usage | None, too_long: str) -> None:
    """Draw the use of the context, below why the chat doesn't fit."""
    if too_long:
        st.warning(as_label(too_long), icon=":material/memory:")
    if usage is not None:
        st.html(_meter(usage))


def _last_usage(session: Session) -> Usage | None:
    """Return the usage of the reply under way once it is known, else of the last reply."""
    if session.job is not None and session.job.reply.usage:
        return session.job.reply.usage
    kept = (Usage.read(entry.extra.get("usage")) for entry in reversed(session.chat.entries))
    return next((usage for usage in kept if usage), None)


def _meter(usage: Usage) -> str:
    """Return a bar of shares with its legend as HTML, which holds numbers and our own words only."""
    shares = {
        "instructions": ("Instructions", usage.system),
        "lore": ("Lore", usage.lore),
        "memory": ("Memory", usage.memory),
        "note": ("Note", usage.note),
        "summary": ("Summary", usage.summary),
        "turns": ("Turns", usage.turns),
        "reply": ("Kept for the reply", usage.reply),
        "free": ("Free", usage.free),
    }
    shown = {kind: share for kind, share in shares.items() if share[1]}
    bar = "".join(f'<span class="{kind}" style="flex-grow:{tokens}"></span>' for kind, (_, tokens) in shown.items())
    legend = "".join(f'<li class="{kind}">{name} <b>{tokens:,}</b></li>' for kind, (name, tokens) in shown.items())
    title = f"Context: {usage.prompt:,} of {usage.context:,} tokens"
    return f'<div class="menny-meter"><p>{title}</p><div aria-hidden="true">{bar}</div><ul>{legend}</ul></div>'


def unseen_entries(entries: Sequence[MessageNode], messages: int) -> int:
    """Return the number of oldest entries that hold the first `messages`; an entry without text is no message."""
    for number, entry in enumerate(entries):
        if not messages:
            return number
        messages -= bool(entry.text)
    return len(entries)


def draw_end_of_memory(usage: Usage, summary: Summary | None) -> None:
    """Draw the line above which the model no longer sees the messages, with their summary."""
    sentence = "The model no longer sees what was said above"
    if usage.summed:
        sentence += "; it has a summary of " + ("the older part" if usage.summed < usage.unseen else "it")
    st.caption(f":material/history: {sentence}.", text_alignment="center")
    if usage.summed and summary:
        with st.expander("The summary", type="compact"):
            st.text(summary.text)
