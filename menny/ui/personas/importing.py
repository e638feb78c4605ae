"""Files in and out, for personas and lorebooks alike: the field that takes files in, and the buttons that give them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from menny.errors import MennyError
from menny.ui.personas.draft import Desk

LARGEST_MB = 64


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What a file became: its name, the way back, what was left out, and the persona's id where it is one."""

    name: str
    take_back: Callable[[], object]
    notices: Sequence[str] = ()
    persona: str = ""


def draw_import(desk: Desk, key: str, label: str, formats: str, take_in: Callable[[str, bytes], ImportResult]) -> None:
    """Draw a field for files; `take_in` gets the name and the bytes of each, and raises MennyError for one that isn't.

    A file is taken in whole or not at all, and doesn't stop the others.
    """
    key = f"{key}_{desk.imports}"

    def take_in_all() -> None:
        imported: list[ImportResult] = []
        errors: list[str] = []
        for file in st.session_state[key]:
            try:
                imported.append(take_in(file.name, file.getvalue()))
            except MennyError as error:
                errors.append(str(error))
        desk.imports += 1

        def undo() -> None:
            for one in imported:
                one.take_back()

        if imported:
            desk.report(f"Imported: {', '.join(one.name for one in imported)}.", undo, latest=imported[-1].persona)
        else:
            desk.report()
        desk.errors, desk.notices = errors, [notice for one in imported for notice in one.notices]

    st.caption(formats)
    st.file_uploader(label, accept_multiple_files=True, key=key, on_change=take_in_all, max_upload_size=LARGEST_MB)


def draw_downloads(stem: str, files: Mapping[str, tuple[bytes, str, str]]) -> None:
    """Draw a button for each file, by label: its bytes, ending and MIME type."""
    with st.container(horizontal=True):
        for label, (data, ending, mime) in files.items():
            st.download_button(label, data, f"{stem}.{ending}", mime, icon=":material/download:", on_click="ignore")
