"""What a page at rest asks: whether its chat, the list of chats or the settings have changed since it was drawn.

The browser asks (`static/changes.js`), and `answer` tells from a few counters. Nothing is drawn for it.
"""

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from menny.ui.chat.chats import Chats, shared_chats
from menny.ui.shared.app_settings import AppSettings, shared_settings
from menny.ui.shared.static import static_text

PATH = "/menny/changes"


def state_of(chats: Chats, settings: AppSettings, chat_id: str) -> str:
    """Return a text that changes with what a page on this chat shows.

    While this process writes a reply, the page that shows it follows it by itself: only its end is a change.
    """
    job = chats.job_of(chat_id)
    chat = f"reply:{job.reply.id}" if job else ":".join(map(str, chats.revision(chat_id)))
    return f"{chat};{settings.revision}"


def draw_watch(chat_id: str, seen: str) -> None:
    """Have the browser ask, and the page drawn again when what it shows is no longer `seen`."""
    component = st.components.v2.component("menny_changes", html="<span></span>", js=static_text("changes.js"))
    component(data={"chat": chat_id, "seen": seen}, key="changes", height=0, on_changed_change=_nothing)


def _nothing() -> None:
    """Let a change run the page."""


async def answer(request: Request) -> PlainTextResponse:
    """Answer a browser's question with the state of its chat."""
    chat_id = request.query_params.get("chat", "")[:100]
    return PlainTextResponse(await run_in_threadpool(_state, chat_id), headers={"Cache-Control": "no-store"})


def _state(chat_id: str) -> str:
    return state_of(shared_chats(), shared_settings(), chat_id)


def changes_route() -> Route:
    """Return the route to be served beside the page."""
    return Route(PATH, answer)
