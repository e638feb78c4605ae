"""Ways to add a model: a folder or file, any repository of the hub, a server; and the hub's token."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from menny.config.paths import own_models_file
from menny.errors import MennyError
from menny.models.catalogue import add_entry, is_repo, model_at
from menny.models.credentials import keep_key
from menny.models.hub import forget_token, has_token, keep_token
from menny.models.loader import models_at
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options


def draw_adding(session: Session, options: Options) -> None:
    """The buttons above the cards, and what came of them."""
    with st.container(horizontal=True, width="content", gap="small"):
        with st.popover("Add a model", icon=":material/add:", key="add_model"):
            _draw_add_model(session, options)
        with st.popover("Add a server", icon=":material/cloud:", key="add_server"):
            _draw_add_server(session, options)
        with st.popover("Token", icon=":material/key:", key="token"):
            _draw_token(session)
    if session.told:
        st.toast(as_label(session.told))
        session.told = ""


def _draw_add_model(session: Session, options: Options) -> None:
    """A folder or .gguf of this machine, or a repository of the hub: both become entries of the user's own."""

    def add() -> None:
        told = str(st.session_state["add_path"]).strip()
        if is_repo(told) and not Path(told).exists():
            source = {"repo": told}
        else:
            source = {"path": str(model_at(Path(os.path.expanduser(told)).absolute()))}
        name = str(st.session_state["add_name"]).strip() or Path(told).name.removesuffix(".gguf")
        add_entry(own_models_file(), id=free_id(name, options), name=name, **source)
        session.told = f"{name} was added."

    st.text_input("Folder, .gguf file or repository", key="add_path", placeholder="/path/to/model or owner/name")
    st.text_input("Name", key="add_name", placeholder="as it should be called")
    _button("Add", "add_now", add, session)


def _draw_add_server(session: Session, options: Options) -> None:
    address = st.text_input("Address", key="server_address", placeholder="http://127.0.0.1:8000/v1")
    variable = st.text_input(
        "Environment variable with the key", key="server_variable", placeholder="none, or such as OPENAI_API_KEY"
    )
    key = st.text_input(
        "Or the key itself", key="server_key", type="password", help="It is kept in the system's keyring, in no file."
    )

    def look() -> None:
        session.served = models_at(address.strip().rstrip("/"), variable.strip() or None, key.strip() or None)

    def add() -> None:
        served = st.session_state["server_model"]
        place = address.strip().rstrip("/")
        if key.strip():
            keep_key(place, key.strip())
        add_entry(
            own_models_file(),
            id=free_id(served, options),
            name=f"{Path(served).name[:60]} (server)",
            server=place,
            served=served,
            key=variable.strip(),
            context_length=session.served[served],
        )
        session.told, session.served = f"{served} was added.", {}

    _button("Connect", "server_look", look, session)
    if session.served:
        st.selectbox("Model", list(session.served), key="server_model")
        _button("Add", "server_add", add, session)
    st.caption("What is said goes to this server. It can't sort texts for moderation; counts of tokens are estimates.")


def _draw_token(session: Session) -> None:
    """For repositories that ask for one. It is kept where the hub's own programs keep it."""

    def keep() -> None:
        keep_token(str(st.session_state["hub_token"]))
        st.session_state["hub_token"] = ""
        session.told = "The token is kept."

    st.caption("Some repositories want to know who gets them. Make a token at huggingface.co, under Settings.")
    if has_token():
        st.markdown(":material/check: There is a token.")
        _button("Forget it", "forget_token", forget_token, session)
    st.text_input("Token", key="hub_token", type="password", placeholder="hf_…")
    _button("Keep it", "keep_token", keep, session)


def _button(label: str, key: str, do: Callable[[], None], session: Session) -> None:
    """A button, and below it why it couldn't do what it says."""

    def click() -> None:
        session.faults.pop(key, None)
        try:
            do()
        except MennyError as error:
            session.faults[key] = str(error)

    st.button(label, key=key, type="primary", on_click=click)
    if fault := session.faults.get(key):
        st.error(as_label(fault), icon=":material/error:")


def free_id(name: str, options: Options) -> str:
    """An id that no model has yet, as near to a name as ids can be."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:50] or "model"
    taken = {spec.id for spec in options.models}
    return next(one for one in (plain, *(f"{plain}-{n}" for n in range(2, 1000))) if one not in taken)
