"""The editor of one entry: a field for everything that decides when it is called up."""

from typing import Any, get_args

import streamlit as st
from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import MennyError
from menny.lorebooks.keys import why_never
from menny.lorebooks.lorebook import MAX_CONTENT, Logic, Lorebook, LoreEntry
from menny.lorebooks.scan import title_of
from menny.text import is_blank, sanitize
from menny.ui.personas.draft import Desk, OpenBook
from menny.ui.safe_markdown import as_label
from menny.ui.shared.options import own_lorebooks

KEPT: dict[str, Any] = {"persist_state": "session"}  # what was typed survives a visit to the chat
LISTS = ("keys", "secondary_keys")
PLAIN = tuple(name for name in LoreEntry.model_fields if name not in (*LISTS, "extensions"))
LOGIC: dict[Logic, str] = {
    "and any": "if any of these is found too",
    "and all": "if all of these are found too",
    "not any": "unless any of these is found",
    "not all": "unless all of these are found",
}
CHANGED = "This entry was changed elsewhere since it was opened here. Copy what you need, cancel, and open it again."


def open_entry(opened: OpenBook, place: int, entry: LoreEntry | None) -> None:
    """Open an entry, or a new one."""
    Desk.current().report()
    opened.place, opened.entry, opened.errors = place, entry, {}
    shown = entry or LoreEntry(content="")
    state: dict[str, Any] = {name: getattr(shown, name) for name in PLAIN}
    state |= {name: "\n".join(getattr(shown, name)) for name in LISTS}
    st.session_state.update({_key(name): value for name, value in state.items()})


def draw_entry(desk: Desk, opened: OpenBook, book: Lorebook) -> None:
    """Draw the fields; Save and Cancel stay in sight below."""
    name = title_of(opened.entry)[:60] if opened.entry else ""
    st.title(as_label(f"Edit {name}" if name else "New entry"), anchor=False)
    st.caption(as_label(f"Lorebook: {book.name}"))
    _draw_texts(opened)
    _draw_conditions(opened)
    with st.bottom:
        for error in desk.errors:
            st.error(as_label(error), icon=":material/error:")
        if opened.errors:
            st.error("Not saved yet. Check the fields marked in red.", icon=":material/error:")
        with st.container(horizontal=True, gap="small", key="persona-end"):
            save, delete = (desk, opened, book), (desk, opened, book)
            st.button("Save", key="save_entry", type="primary", icon=":material/check:", on_click=_save, args=save)
            st.button("Cancel", key="cancel_entry", on_click=_cancel, args=(desk, opened))
            if opened.entry is not None:
                st.button(
                    "Delete",
                    key="delete_entry",
                    icon=":material/delete:",
                    type="tertiary",
                    on_click=_delete,
                    args=delete,
                )


def _draw_texts(opened: OpenBook) -> None:
    st.text_input(
        "Title", key=_key("name"), max_chars=200, placeholder="For the list; the model doesn't see it", **KEPT
    )
    _draw_error(opened, "name")
    st.text_area(
        "Keys, one per line",
        key=_key("keys"),
        height=100,
        placeholder="moss\nglowing forest\n/mush(room)?s?/i",
        help="Words, phrases, or regular expressions between slashes. Any of them calls the entry up.",
        **KEPT,
    )
    _draw_error(opened, "keys")
    st.text_area(
        "Text for the model",
        key=_key("content"),
        height=220,
        max_chars=MAX_CONTENT,
        help="{{user}} and {{char}} stand for the two names, here and in keys.",
        **KEPT,
    )
    _draw_error(opened, "content")
    with st.container(horizontal=True):
        st.toggle("In use", key=_key("enabled"), **KEPT)
        st.toggle("Always there", key=_key("constant"), help="In every prompt, whatever is said.", **KEPT)


def _draw_conditions(opened: OpenBook) -> None:
    with st.expander("Conditions and order", icon=":material/tune:"):
        st.text_area("More keys, one per line", key=_key("secondary_keys"), height=80, **KEPT)
        _draw_error(opened, "secondary_keys")
        st.selectbox(
            "Use the entry", get_args(Logic), key=_key("selective_logic"), format_func=lambda one: LOGIC[one], **KEPT
        )
        with st.grid(3):
            st.number_input("Probability in percent", 0.0, 100.0, step=5.0, key=_key("probability"), **KEPT)
            st.number_input(
                "Order",
                -(10**9),
                10**9,
                step=1,
                key=_key("order"),
                help="Where there isn't room for all, higher ones come first. In the text, they come last.",
                **KEPT,
            )
            st.number_input(
                "Messages to search", 0, 1000, step=1, key=_key("scan_depth"), placeholder="As the book", **KEPT
            )
        st.toggle(
            "Whole words only", key=_key("match_whole_words"), help="So that “moss” isn't found in “mossy”.", **KEPT
        )
        st.toggle("Capital letters matter", key=_key("case_sensitive"), **KEPT)
    with st.expander("Other entries", icon=":material/account_tree:"):
        st.toggle("Other entries can't call it up", key=_key("exclude_recursion"), **KEPT)
        st.toggle("It can't call up other entries", key=_key("prevent_recursion"), **KEPT)
        if st.toggle("Only other entries can call it up", key=_key("delay_until_recursion"), **KEPT):
            st.number_input(
                "Level",
                1,
                1000,
                step=1,
                key=_key("recursion_level"),
                help="Higher levels wait until the lower ones call up nothing more.",
                **KEPT,
            )


def _draw_error(opened: OpenBook, field: str) -> None:
    """The error of a field, under it; of keys, also those that never match."""
    if error := opened.errors.get(field):
        st.markdown(f":red[:material/error: {as_label(error)}]")
    for key in _lines(field) if field in LISTS else ():
        if why := why_never(key):
            st.caption(as_label(f"“{key}” never matches, as {why}."))


def _key(name: str) -> str:
    return f"lore_{name}"


def _lines(name: str) -> list[str]:
    lines = (sanitize(line).strip() for line in (st.session_state.get(_key(name)) or "").splitlines())
    return list(dict.fromkeys(filter(None, lines)))


def _values(opened: OpenBook) -> dict[str, Any]:
    found = {name: st.session_state.get(_key(name)) for name in PLAIN}
    values = {name: sanitize(value) if isinstance(value, str) else value for name, value in found.items()}
    kept = dict(opened.entry.extensions) if opened.entry else {}
    return {**values, **{name: _lines(name) for name in LISTS}, "extensions": kept}


def _save(desk: Desk, opened: OpenBook, book: Lorebook) -> None:
    """Check and save the fields; where there is an error they stay as they are, with the error shown."""
    opened.errors = {}
    try:
        entry = from_data(_values(opened), LoreEntry)
    except ValidationError as error:
        opened.errors = {str(place[0]): text for place, text in reversed(field_errors(error, LoreEntry))}
        return
    if is_blank(entry.content):
        opened.errors = {"content": "Write what the model should know."}
    elif _put(desk, opened, book, (entry,)):
        desk.report(f"{title_of(entry)} was saved.")


def _cancel(desk: Desk, opened: OpenBook) -> None:
    """Leave the entry; what was changed in it can be brought back."""
    place, entry, typed = opened.place, opened.entry, _values(opened)
    _leave(opened)
    desk.report()
    if typed == (entry or LoreEntry(content="")).model_dump(mode="json"):
        return
    fields = {_key(name): st.session_state.get(_key(name)) for name in (*PLAIN, *LISTS)}

    def bring_back() -> None:
        opened.place, opened.entry, desk.book = place, entry, opened
        st.session_state.update(fields)

    desk.report("Your changes were discarded.", bring_back)


def _delete(desk: Desk, opened: OpenBook, book: Lorebook) -> None:
    title, place, entry, book_id = (
        title_of(opened.entry) if opened.entry else "",
        opened.place,
        opened.entry,
        opened.book_id,
    )

    def undo() -> None:
        now = own_lorebooks().load()[0].get(book_id)
        if now is None or entry is None or place is None:
            return
        entries = (*now.entries[:place], entry, *now.entries[place:])
        own_lorebooks().keep(now.model_copy(update={"entries": entries}), book_id)

    if _put(desk, opened, book, ()):
        desk.report(f"{title} was deleted.", undo)


def _put(desk: Desk, opened: OpenBook, book: Lorebook, entries: tuple[LoreEntry, ...]) -> bool:
    """Put entries in the place of the one that is open; returns whether that was done."""
    place, desk.errors = opened.place or 0, []
    there = book.entries[place : place + 1] if opened.entry else ()
    if there != ((opened.entry,) if opened.entry else ()):
        desk.errors = [CHANGED]
        return False
    rest = book.entries[place + len(there) :]
    try:
        own_lorebooks().keep(
            book.model_copy(update={"entries": (*book.entries[:place], *entries, *rest)}), opened.book_id
        )
    except MennyError as error:
        desk.errors = [str(error)]
        return False
    _leave(opened)
    return True


def _leave(opened: OpenBook) -> None:
    opened.place, opened.entry, opened.errors = None, None, {}
