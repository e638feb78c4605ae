"""Chats as files, in the page: export of one chat, an archive of everything, and import."""

import unicodedata
from collections.abc import Callable

import streamlit as st

from menny.chat.chat_settings import ChatSettings
from menny.errors import MennyError
from menny.personas.profile_files import profiles_from_archive, profiles_to_archive
from menny.storage import ChatStore, as_json, as_markdown, facts_as_files, facts_of_files, pack, unpack
from menny.ui.personas.persona_store import own_personas
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.feedback import IMPORT
from menny.ui.shared.options import own_lorebooks, read_options
from menny.ui.shared.you import NAMELESS, names_of
from menny.ui.sidebar.fold import FILES, fold

MOST_MEGABYTES = 200

_JOINERS = "\u200c\u200d"  # within words of Persian and of Indian languages
_WITHIN_WORDS = f"_{_JOINERS}"


def draw_files(session: Session) -> None:
    """Draw the import, the archive, the bin and the deletion of everything, folded away."""
    store = session.chats.store
    if store is None:
        return
    with fold(session, "Import, archive and bin", FILES, type="compact") as box:
        if not box.open:
            return
        st.file_uploader(
            "Import chats, or an archive",
            type=["json", "jsonl", "zip"],
            key="import",
            help="A chat or an archive from Menny, an export from ChatGPT (conversations.json or its zip), or a "
            "chat from SillyTavern (.jsonl).",
            max_upload_size=MOST_MEGABYTES,
            on_change=_import,
            args=(session, store),
        )
        if notice := session.feedback.notices.get(IMPORT):
            st.caption(as_label(notice))
        if error := session.feedback.errors.get(IMPORT):
            st.error(as_label(error), icon=":material/error:")
        _draw_download("Save everything", lambda: _archive(store), "menny-archive.zip", "application/zip", "archive")
        st.button("Bin", key="see-bin", icon=":material/delete:", on_click=_open_bin, args=(session,), width="stretch")
        st.button(
            "Delete everything",
            key="delete-all",
            icon=":material/delete_forever:",
            on_click=_ask_to_delete_all,
            args=(session,),
            width="stretch",
        )


def _open_bin(session: Session) -> None:
    session.is_in_bin = True


def _ask_to_delete_all(session: Session) -> None:
    session.is_deleting_all = True


def _import(session: Session, store: ChatStore) -> None:
    """Import what was uploaded, all or nothing, and open a single chat."""
    session.feedback.clear(IMPORT)
    file = st.session_state["import"]
    if file is None:
        return
    try:
        unpacked = unpack(file.name, file.getvalue())
        facts = facts_of_files(unpacked.files)
        with (
            own_personas().from_archive(unpacked.files) as personas,
            own_lorebooks().from_archive(unpacked.files) as lorebooks,
            profiles_from_archive(unpacked.files) as profiles,
        ):
            added = store.merge(unpacked.transcripts)
            remembered = store.facts.merge(facts)
    except MennyError as error:
        session.feedback.error(IMPORT, str(error))
        return
    session.feedback.notice(IMPORT, unpacked.report(added, len(personas), len(lorebooks), len(profiles), remembered))
    if len(unpacked.transcripts) == 1:
        session.open(next(iter(unpacked.transcripts)).conversation.id)


def _archive(store: ChatStore) -> bytes:
    files = own_personas().to_archive() | own_lorebooks().to_archive() | profiles_to_archive()
    return pack(store.transcripts(), files | facts_as_files(store.facts.all()))


def draw_export(store: ChatStore, chat_id: str) -> None:
    """Draw the two exports of a chat: Markdown to read, and JSON with everything."""
    transcript = store.transcript(chat_id)
    name = file_stem(transcript.conversation.title)
    options = read_options()
    names = {persona.id: persona.name for persona in options.personas}
    chosen = ChatSettings.read(transcript.conversation.settings)
    you = names_of(options.profiles).get(chosen.profile or chosen.known_as, NAMELESS)
    text = as_markdown(transcript, names, you)
    _draw_download("Markdown, to read", text, f"{name}.md", "text/markdown", "article")
    document = as_json(transcript)
    _draw_download("JSON, with all its versions", document, f"{name}.json", "application/json", "data_object")
    st.caption("Menny can import the JSON again.")


def _draw_download(label: str, data: str | Callable[[], bytes], file_name: str, mime: str, icon: str) -> None:
    """Draw a button that saves a file, and leaves the page as it is."""
    icon = f":material/{icon}:"
    st.download_button(label, data, file_name, mime, icon=icon, key=f"save-{mime}", on_click="ignore", width="stretch")


def file_stem(title: str) -> str:
    """Return a title as a file's name, without its ending; letters keep their marks, as in हिन्दी."""
    title = unicodedata.normalize("NFC", title)
    kept = (c if c in _WITHIN_WORDS or unicodedata.category(c)[0] in "LMN" else " " for c in title)
    words = (word.strip(_JOINERS) for word in "".join(kept).split())
    return "-".join(filter(None, words))[:60] or "chat"
