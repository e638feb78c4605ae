"""Ways to add a model: a folder or file, any repository of the hub, a server; and the hub's token."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from menny.config.paths import own_models_file
from menny.errors import ConfigError
from menny.models.catalogue import add_entry, is_repo, model_at
from menny.models.credentials import keep_key
from menny.models.hub import forget_token, has_token, keep_token
from menny.models.loader import models_at
from menny.ui.models.popover import close, popover
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import TOAST
from menny.ui.shared.options import Options

WIDTH = 440  # pixels of a form, so that an error in it doesn't move the fields


def draw_adding(session: Session, options: Options) -> None:
    """Draw the buttons above the cards, and a toast for what was done."""
    with st.container(horizontal=True, width="content", gap="small"):
        with popover("Add a model", "add_model", ":material/add:"), st.container(width=WIDTH):
            _draw_add_model(session, options)
        with popover("Add a server", "add_server", ":material/cloud:"), st.container(width=WIDTH):
            _draw_add_server(session, options)
        with popover("Token", "token", ":material/key:"), st.container(width=WIDTH):
            _draw_token(session)
    if sentence := session.feedback.pop(TOAST):
        st.toast(as_label(sentence))


def _draw_add_model(session: Session, options: Options) -> None:
    """Draw the form that makes a folder, a .gguf file or a repository an entry of the user's own."""

    def add() -> None:
        if not (typed := str(st.session_state["add_path"]).strip()):
            raise ConfigError("Type a folder, a .gguf file or a repository first.")
        if is_repo(typed) and not Path(typed).exists():
            source = {"repo": typed}
        else:
            source = {"path": str(model_at(Path(os.path.expanduser(typed)).absolute()))}
        name = str(st.session_state["add_name"]).strip() or Path(typed).name.removesuffix(".gguf")
        add_entry(own_models_file(), id=free_id(name, options), name=name, **source)
        session.feedback.notice(TOAST, f"{name} was added.")
        st.session_state["add_path"] = st.session_state["add_name"] = ""
        close("add_model")

    st.text_input("Folder, .gguf file or repository", key="add_path", placeholder="/path/to/model or owner/name")
    st.text_input("Name", key="add_name", placeholder="What to call it")
    _button("Add", "add_now", add, session)


@dataclass(frozen=True)
class ServerForm:
    """The fields of the form at this moment: a button's callback runs before the page has drawn what was typed last."""

    address: str
    variable: str
    key: str = field(repr=False)

    @classmethod
    def typed(cls) -> "ServerForm":
        """Read the fields from the session's state."""
        texts = [
            str(st.session_state.get(name, "")).strip() for name in ("server_address", "server_variable", "server_key")
        ]
        return cls(texts[0].rstrip("/"), texts[1], texts[2])


def _draw_add_server(session: Session, options: Options) -> None:
    """Draw the form that connects to a server and adds one of its models as an entry of the user's own."""

    def connect() -> None:
        form = ServerForm.typed()
        session.served, session.served_to = {}, form
        session.served = models_at(form.address, form.variable or None, form.key or None)

    def add() -> None:
        form, served = ServerForm.typed(), st.session_state["server_model"]
        if form != session.served_to or served not in session.served:
            raise ConfigError("The form was changed: connect to the server again.")
        if form.key:
            keep_key(form.address, form.key)
        add_entry(
            own_models_file(),
            id=free_id(served, options),
            name=f"{Path(served).name[:60]} (server)",
            server=form.address,
            served=served,
            key=form.variable,
            context_length=session.served[served],
        )
        session.feedback.notice(TOAST, f"{served} was added.")
        session.served = {}
        st.session_state["server_key"] = ""
        close("add_server")

    st.text_input("Address", key="server_address", placeholder="http://127.0.0.1:8000/v1")
    st.text_input(
        "Environment variable with the key", key="server_variable", placeholder="Optional, such as OPENAI_API_KEY"
    )
    st.text_input(
        "Or the key itself", key="server_key", type="password", help="Stored in the system's keyring, never in a file."
    )
    if ServerForm.typed() != session.served_to:  # what is there is about another server
        session.served = {}
        for button in ("server_look", "server_add"):
            session.feedback.clear(button)
    _button("Connect", "server_look", connect, session)
    if session.served:
        st.selectbox("Model", list(session.served), key="server_model")
        _button("Add", "server_add", add, session)
    st.caption("Your messages go to this server. Only vLLM can moderate them there; token counts may be estimates.")


def _draw_token(session: Session) -> None:
    """Draw the form for the hub's token, which is kept where the hub's own programs keep it."""

    def keep() -> None:
        keep_token(str(st.session_state["hub_token"]))
        st.session_state["hub_token"] = ""
        session.feedback.notice(TOAST, "The token was saved.")
        close("token")

    def forget() -> None:
        forget_token()
        session.feedback.notice(TOAST, "The token was removed.")
        close("token")

    st.caption("Some repositories need a token. Create one at huggingface.co, under Settings.")
    if has_token():
        st.markdown(":material/check: A token is saved.")
        _button("Remove", "forget_token", forget, session)
    st.text_input("Token", key="hub_token", type="password", placeholder="hf_…")
    _button("Save", "keep_token", keep, session)


def _button(label: str, key: str, do: Callable[[], None], session: Session) -> None:
    """Draw a button, and below it the error of its last click."""

    def click() -> None:
        with session.feedback.attempt(key):
            do()

    st.button(label, key=key, type="primary", on_click=click)
    if error := session.feedback.errors.get(key):
        st.error(as_label(error), icon=":material/error:")


def free_id(name: str, options: Options) -> str:
    """Return an id that no model has yet, as near to a name as an id can be."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:50] or "model"
    taken = {spec.id for spec in options.models}
    return next(one for one in (plain, *(f"{plain}-{n}" for n in range(2, 1000))) if one not in taken)
