"""The conversation on the page: the latest messages, their buttons, and the reply that is being written."""

import time
from contextlib import nullcontext
from functools import partial

import streamlit as st

from menny.chat import withheld
from menny.chat.prompt_builder import Usage
from menny.engine_protocols import Progress
from menny.moderation.policy import MODERATION_KEY, ModerationResult
from menny.storage import MessageNode, ReplyStats
from menny.ui.chat.dialog_clicks import attend_to_dialog
from menny.ui.chat.editor import draw_editor
from menny.ui.chat.message_bar import Bar, message_bar
from menny.ui.chat.noted import draw_noted, facts_by_message
from menny.ui.chat.origin import draw_origin
from menny.ui.chat.receipt import TOOL as RECEIPT
from menny.ui.chat.receipt import draw_open_receipt
from menny.ui.chat.reply_job import ReplyJob, watch
from menny.ui.chat.speakers import Speakers
from menny.ui.chat.thought import GrowingThought, draw_thought, duration
from menny.ui.chat.turn_mark import draw_turn_mark
from menny.ui.safe_markdown import as_label, draw_markdown
from menny.ui.session import ENTRIES_SHOWN, Session
from menny.ui.shared.feedback import ABOVE_BOX
from menny.ui.shared.pictures import avatar_of, human_avatar
from menny.ui.shared.you import NAMELESS
from menny.ui.sidebar.memory_panel import draw_end_of_memory, unseen_entries
from menny.ui.sidebar.moderation_panel import draw_warning, draw_withheld, folded_away

BRANCH = ("Branch", "New chat from here")
CURSOR = " ▍"
STATUS_INTERVAL = 0.2  # seconds between two updates of the line below a growing reply


def draw_conversation(session: Session, speakers: Speakers, usage: Usage | None) -> None:
    """Draw the latest messages, and earlier ones on demand; block while a reply is being written.

    Messages that no longer fit the model's context are drawn faded.
    """
    _draw_open_file(session)
    draw_open_receipt(session)
    draw_origin(session)
    entries, noted = session.chat.entries, facts_by_message(session)
    hidden = max(0, len(entries) - session.shown)
    if hidden:
        _draw_more(session, hidden)
    unseen = unseen_entries(entries, usage.unseen if usage else 0)
    for number, entry in enumerate(entries[hidden:], start=hidden):
        if usage and unseen and number == max(unseen, hidden):
            draw_end_of_memory(usage, session.chat.summary)
        with st.container(key=f"unseen-{entry.id}") if number < unseen else nullcontext():
            if entry.role == "user":
                _draw_question(session, entry, speakers, is_last=number == len(entries) - 1)
                draw_noted(session, noted.get(entry.id, ()))
            else:
                _draw_reply(session, entry, speakers, is_last=number == len(entries) - 1)


def _draw_more(session: Session, hidden: int) -> None:
    def show() -> None:
        session.shown += 4 * ENTRIES_SHOWN

    with st.container(horizontal_alignment="center"):
        st.button(f"Show earlier messages ({hidden:,})", key="earlier", icon=":material/expand_less:", on_click=show)


def _draw_question(session: Session, entry: MessageNode, speakers: Speakers, is_last: bool) -> None:
    with st.container(key=f"user-{entry.id}"), st.chat_message("user", avatar=human_avatar(speakers.you.profile)):
        _draw_author(speakers.you.name or NAMELESS)
        _draw_files(session, entry)
        if session.editing == entry.id:
            edit, leave = partial(session.edit, entry.id), partial(_leave_editor, session)
            draw_editor(entry.id, session.edited or entry.text, "Edit the message", "Send", edit, leave)
            return
        if entry.text:
            st.text(entry.text, width="stretch")
        if result := ModerationResult.from_dict(entry.extra.get(MODERATION_KEY)):
            draw_warning(result)
        draw_turn_mark(entry)
        tools = [("Edit", "Edit the message"), BRANCH, ("Delete", "Delete from here")]
        if is_last:  # its reply was deleted, or never came
            tools.insert(0, ("Regenerate", "Answer the message"))

        def use(name: str, value: str) -> None:
            match name:
                case "edit":
                    session.editing, session.edited = entry.id, ""
                case "regenerate":
                    session.regenerate(entry.id)
                case "branch":
                    session.branch(entry.id)
                case "delete":
                    session.delete(entry.id)
                case "step":
                    session.chat.choose(value)

        bar = Bar(entry.text, "Copy the message", tools, entry.alternatives, entry.id)
        message_bar(bar, f"bar-{entry.id}", session.attempting(use))


def _draw_author(name: str) -> None:
    """Draw who wrote a message, as plain text, which costs the browser less than Markdown; style.css makes it bold."""
    st.text(name)


def _draw_files(session: Session, entry: MessageNode) -> None:
    """Draw a chip for each file, which opens its text."""
    if not entry.attachments:
        return

    def read(number: int) -> None:
        session.reading = (entry.id, number)

    with st.container(horizontal=True, gap="xsmall", key=f"files-{entry.id}"):
        for number, one in enumerate(entry.attachments):
            size = f"{one.tokens:,} tokens" if one.tokens is not None else f"{len(one.text):,} characters"
            st.button(
                as_label(f"{one.name} · {size}"),
                key=f"file-{entry.id}-{number}",
                icon=":material/description:",
                on_click=read,
                args=(number,),
            )


def _draw_open_file(session: Session) -> None:
    """Draw the dialog with the text of the file that is open, if one is."""
    if session.reading is None:
        return
    entry_id, number = session.reading
    files = next((entry.attachments for entry in session.chat.entries if entry.id == entry_id), ())
    if number >= len(files):
        return

    @st.dialog(as_label(files[number].name), width="large", on_dismiss=session.close_dialog)
    def read() -> None:
        st.caption("The text that the model reads.")
        st.code(files[number].text, language=None, wrap_lines=True, height=480)

    read()


def _leave_editor(session: Session) -> None:
    session.editing = session.edited = ""


def _draw_reply(session: Session, entry: MessageNode, speakers: Speakers, is_last: bool) -> None:
    persona = speakers.personas.get(entry.persona)
    opening = nullcontext() if entry.parent else st.container(key=f"opening-{entry.id}")
    with opening, st.chat_message(speakers.name(entry.persona), avatar=avatar_of(persona) if persona else "assistant"):
        _draw_author(speakers.name(entry.persona))
        job = session.job
        if job is not None and job.reply.id == entry.id:
            _follow(job, speakers.name(entry.persona))
            return
        if session.editing == entry.id:
            rewrite, leave = partial(session.rewrite, entry.id), partial(_leave_editor, session)
            draw_editor(entry.id, entry.text, "Edit the reply", "Save", rewrite, leave)
            return
        is_withheld = _draw_text(entry)
        if entry.error:
            st.error(as_label(entry.error), icon=":material/error:")
        if notice := entry.extra.get("notice"):
            st.caption(f":material/info: {as_label(str(notice))}")
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            _draw_bar(session, entry, speakers, is_withheld)
            measured = as_label(measures(entry, speakers.models.get(entry.model, entry.model)))
            host = speakers.hosts.get(entry.model)
            st.caption(f":material/cloud: {as_label(host)} · {measured}" if host else measured)
        if is_last and entry.can_go_on and not is_withheld:
            _draw_continue(session, entry, speakers)


def _draw_text(entry: MessageNode) -> bool:
    """Draw a reply's text, or what moderation puts in its place; return whether it is withheld."""
    result = ModerationResult.from_dict(entry.extra.get(MODERATION_KEY))
    if entry.status == "growing" or not (entry.text or withheld.is_withheld(entry)):
        result = None  # it is classified once it is complete
    if result and result.action == "block":
        draw_withheld(result)
        return True
    with folded_away(result, f"folded-{entry.id}") if result else nullcontext():
        draw_thought(entry)
        if entry.text:
            cursor = CURSOR if entry.status == "growing" else ""
            draw_markdown(entry.text, cursor)
    return False


def _draw_continue(session: Session, entry: MessageNode, speakers: Speakers) -> None:
    def resume() -> None:
        """Go on as the persona and by the model that began it."""
        if entry.model and entry.model not in speakers.present:
            name = speakers.models.get(entry.model, entry.model)
            sentence = f"{name} began this reply and isn't on this machine. Regenerate it with another model."
            session.feedback.notice(ABOVE_BOX, sentence)
            return
        session.resume(entry.id, entry.persona, entry.model)

    if why := speakers.why_no_continuing(entry.model):
        st.caption(f":material/info: {as_label(why)}")
        return
    st.button("Continue", key=f"continue-{entry.id}", icon=":material/play_arrow:", on_click=resume)


def _draw_bar(session: Session, entry: MessageNode, speakers: Speakers, is_withheld: bool) -> None:
    def use(name: str, value: str) -> None:
        match name:
            case "regenerate":
                kind, _, chosen = value.partition(":")
                session.regenerate(entry.id, **({kind: chosen} if chosen else {}))
            case "edit":
                session.editing = entry.id
            case "receipt":
                session.reviewing = entry.id
            case "original":
                session.rewrite(entry.id, entry.other_text)
            case "branch":
                session.branch(entry.id)
            case "delete":
                session.delete(entry.id)
            case "step":
                session.chat.choose(value)

    persona, model = (one.id if one else "" for one in (session.persona, session.model))  # they answer anyway
    personas = [(f"persona:{one.id}", one.name) for one in speakers.personas.values() if one.id != persona]
    models = [(f"model:{one}", speakers.models[one]) for one in speakers.present if one != model]
    choices = [("Another persona", personas), ("Another model", models)]
    tools = [("Regenerate", "Regenerate the reply"), BRANCH, RECEIPT, ("Delete", "Delete from here")]
    if entry.parent is None:  # some imported chats begin with a reply
        tools, choices = [BRANCH, tools[-1]], []
    if entry.text and not is_withheld:
        tools.insert(-3, ("Edit", "Edit the reply"))
    if entry.other_text:
        tools.insert(-3, ("Original", "Show the original" if entry.is_edited else "Show the edited reply"))
    bar = Bar("" if is_withheld else entry.text, "Copy the reply", tools, entry.alternatives, entry.id, choices)
    if entry.status == "growing":  # in another process
        bar = Bar("", "")
    message_bar(bar, f"bar-{entry.id}", session.attempting(use))


def _follow(job: ReplyJob, name: str) -> None:
    """Draw a reply as it grows, then rerun the page, so that a finished reply is drawn in one place only."""
    thought, text, status = GrowingThought(job.reply), st.empty(), st.empty()
    shown, status_due = "", 0.0

    def draw() -> None:
        nonlocal shown, status_due
        attend_to_dialog()
        thought.draw()
        if job.reply.text and job.reply.text != shown:
            shown = job.reply.text
            draw_markdown(shown, CURSOR, place=text)
        elif shown and not job.reply.text:  # it turned out to be a thought
            shown = ""
            text.empty()
        if time.monotonic() >= status_due:
            status_due = time.monotonic() + STATUS_INTERVAL
            _draw_status(status, job, name)

    draw()
    watch(job, draw)
    st.rerun()


def _draw_status(status: "st.delta_generator.DeltaGenerator", job: ReplyJob, name: str) -> None:
    """Draw what a reply waits for, or its speed. Streamlit can only stop a page where it draws something."""
    progress = job.progress
    if progress.phase == "prefill" and progress.total > progress.done > 0:
        status.progress(progress.done / progress.total, text=f"Reading: {progress.done:,} of {progress.total:,} tokens")
    elif progress.phase == "writing" and job.reply.is_thinking:
        tokens = f"{job.reply.stats.thought_tokens:,} tokens"
        status.caption(f":shimmer[{as_label(f'Thinking for {duration(job.reply.thought_seconds)} · {tokens}')}]")
    elif progress.phase == "writing":
        status.caption(as_label(" · ".join(_counted(job.reply.stats))))
    else:
        status.caption(f":shimmer[{as_label(waiting_for(progress, job.model_name, name))}]")


def waiting_for(progress: Progress, model_name: str, persona_name: str) -> str:
    """Return the line below a reply that has no text yet."""
    match progress.phase:
        case "loading":
            return f"Loading {model_name} …"
        case "preparing":
            return "Preparing the engine for this processor …"
        case "busy":
            return f"Waiting: another chat is using the engine. {model_name} is next …"
        case "summarizing":
            return "Summarizing earlier messages …"
        case "classifying":
            return "Checking the text …"
        case "waiting":
            return f"Waiting: {progress.total} request{'s' if progress.total != 1 else ''} ahead …"
        case _:
            return f"{persona_name} is reading …"


def measures(entry: MessageNode, model_name: str) -> str:
    """Return the line below a reply: its length, its speed, and why it ended early."""
    edited = ["edited"] if entry.is_edited else []
    parts = [*([model_name] if model_name else []), *edited, *_counted(entry.stats)]
    match entry.status, entry.finish_reason:
        case "growing", _:
            parts.append("being written in another window")
        case "interrupted", _:
            parts.append("interrupted")
        case _, "length":
            parts.append("cut at max tokens")
        case _, "cancelled":
            parts.append("stopped")
    return " · ".join(parts)


def _counted(stats: ReplyStats) -> list[str]:
    tokens = stats.completion_tokens
    if not tokens:
        return []
    return [
        f"{tokens:,} token{'s' if tokens != 1 else ''}",
        f"{stats.decode_tps:.1f} tokens/s",
        f"first after {stats.seconds_to_first_token:.1f} s",
    ]
