"""What of the conversation the model sees: the choice in the sidebar, and the meter of its context."""

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

NAMES: Mapping[str, str] = {
    "recent": "Recent turns",
    "turns": "Last turns",
    "everything": "Everything",
    "summary": "Recent turns and a summary",
    "summary-and-turns": "Last turns and a summary",
}
HELP = """What the model sees of a long chat; its context holds so many tokens and no more.

- **Recent turns**: as many as fit.
- **Last turns**: so many before the question.
- **Everything**: all, and no reply once that no longer fits.
- **… and a summary**: the model sums up what it no longer sees, which takes a moment now and then."""


def choose_memory() -> Memory:
    """The choice, and the number of turns where that matters."""
    st.selectbox(
        "Memory",
        get_args(Strategy),
        key="memory",
        persist_state="session",
        format_func=lambda strategy: NAMES[strategy],
        help=HELP,
    )
    memory = Memory(st.session_state["memory"], st.session_state["memory_turns"])
    if memory.names_turns:
        st.number_input("Turns before the question", 0, 1000, step=1, key="memory_turns", persist_state="session")
    return memory


def draw_meter(session: Session, engine: Engine | None, settings: ReplySettings) -> Usage | None:
    """Show how the next prompt will use the context, and return it; while a reply is under way, how its own does.

    Without the engine there is nothing to count with: then it is as the last reply found it.
    """
    usage = _last_usage(session)
    if engine is not None and session.job is None:
        try:
            usage = session.chat.estimate_usage(engine, settings)
        except MennyError as error:  # sending a message will show it
            if settings.memory.strategy == "everything" and isinstance(error, PromptTooLongError):
                st.warning(as_label(str(error)), icon=":material/memory:")
    if usage is not None:
        st.html(_meter(usage))
    return usage


def _last_usage(session: Session) -> Usage | None:
    """That of the reply under way, as soon as it is known, or the last one that is kept."""
    if session.job is not None and session.job.reply.usage:
        return session.job.reply.usage
    kept = (Usage.read(entry.extra.get("usage")) for entry in reversed(session.chat.entries))
    return next((usage for usage in kept if usage), None)


def _meter(usage: Usage) -> str:
    """A bar of shares with its legend. Numbers and our own words only."""
    used = usage.context - usage.reply - usage.free
    shares = {
        "instructions": ("Instructions", usage.system),
        "summary": ("Summary", usage.summary),
        "turns": ("Turns", usage.turns),
        "reply": ("Kept for the reply", usage.reply),
        "free": ("Free", usage.free),
    }
    shown = {kind: share for kind, share in shares.items() if share[1]}
    bar = "".join(f'<span class="{kind}" style="flex-grow:{tokens}"></span>' for kind, (_, tokens) in shown.items())
    legend = "".join(f'<li class="{kind}">{name} <b>{tokens:,}</b></li>' for kind, (name, tokens) in shown.items())
    title = f"Context: {used:,} of {usage.context:,} tokens"
    return f'<div class="menny-meter"><p>{title}</p><div aria-hidden="true">{bar}</div><ul>{legend}</ul></div>'


def unseen_entries(entries: Sequence[MessageNode], messages: int) -> int:
    """How many of the oldest entries hold the first so many messages; one without a text is none to the model."""
    for number, entry in enumerate(entries):
        if not messages:
            return number
        messages -= bool(entry.text)
    return len(entries)


def draw_end_of_memory(usage: Usage, summary: Summary | None) -> None:
    """The line between what the model no longer sees and what it does, with the summary of the former."""
    if not usage.summed:
        told = "From here on up, the model no longer sees what was said."
    elif usage.summed < usage.unseen:
        told = "From here on up, the model no longer sees what was said; it has a summary of the older part."
    else:
        told = "From here on up, the model no longer sees what was said; it has a summary of it."
    st.caption(f":material/history: {told}", text_alignment="center")
    if usage.summed and summary:
        with st.expander("The summary", type="compact"):
            st.text(summary.text)
