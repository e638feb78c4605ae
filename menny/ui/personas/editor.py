"""The editor: a field for every key of a persona's file, and beside it a preview of the model's instructions."""

from typing import Any

import streamlit as st

from menny.errors import MennyError
from menny.moderation.guardrails import NONE
from menny.personas.avatars import as_avatar
from menny.personas.persona import MAX_EXAMPLES, MAX_GREETINGS, Persona
from menny.ui.personas.draft import NUMBERS, Draft, drop_draft, keep_draft, key_of, values
from menny.ui.personas.persona_store import own_personas
from menny.ui.personas.preview import draw_preview
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.pictures import IMAGES, avatar_of, picture
from menny.ui.shared.sampling_form import draw_number
from menny.ui.sidebar.memory_panel import HELP, NAMES
from menny.ui.sidebar.thinking_panel import draw_thinking

KEPT: dict[str, Any] = {"persist_state": "session"}  # what was typed survives a visit to the chat


def draw_editor(draft: Draft, options: Options, session: Session) -> None:
    """Fields on the left, the preview on the right; Save and Cancel stay in sight below."""
    st.title(_title(draft), anchor=False)
    if (
        draft.persona_id
        and own_personas().own_file(draft.persona_id) is None
        and own_personas().preset_file(draft.persona_id)
    ):
        st.caption("This persona is built in. Saving makes your own copy, which you can reset at any time.")
    elif not draft.persona_id:
        st.caption("A name and a description are enough. Everything else is optional.")
    else:
        st.space("xsmall")
    fields, preview = st.columns([3, 2], gap="large")
    with fields:
        _draw_who(draft)
        _draw_words(draft)
        _draw_examples(draft)
        _draw_rules(draft, options)
    with st.bottom:
        _draw_end(draft)
    with preview, st.container(key="persona-preview"):
        draw_preview(values(draft), options, session)


def _title(draft: Draft) -> str:
    name = st.session_state.get(key_of("name"), "").strip()
    return as_label(f"Edit {name or 'persona'}" if draft.persona_id else "New persona")


def _draw_who(draft: Draft) -> None:
    look, words = st.columns([1, 3], vertical_alignment="top")
    with look:
        shown = draft.picture or avatar_of(Persona.model_construct(avatar=draft.avatar))
        if isinstance(shown, bytes) or not shown.startswith(":"):
            st.image(shown, width=104, alt="The persona's picture")
        with st.popover("Picture", icon=":material/image:"):
            _draw_pictures(draft)
    with words:
        st.text_input("Name", key=key_of("name"), max_chars=60, **KEPT)
        _draw_field_error(draft, "name")
        st.text_input(
            "Tagline", key=key_of("tagline"), max_chars=80, placeholder="One line that says what to expect", **KEPT
        )
        _draw_field_error(draft, "tagline")


def _draw_pictures(draft: Draft) -> None:
    """The pictures that come with Menny, and an upload of the user's own."""

    def choose(name: str | None) -> None:
        draft.avatar, draft.picture = name, None

    def upload() -> None:
        file = st.session_state["avatar_upload"]
        if file is None:
            return
        draft.errors.pop("avatar", None)
        try:
            draft.picture = as_avatar(file.getvalue())
        except MennyError as error:
            draft.errors["avatar"] = str(error)

    st.file_uploader(
        "Upload a picture",
        type=["png", "jpg", "jpeg", "webp", "gif"],
        key="avatar_upload",
        on_change=upload,
        max_upload_size=12,
    )
    _draw_field_error(draft, "avatar")
    st.caption("Or choose one of these:")
    with st.grid("auto", min_column_width=64, gap="xsmall"):
        for file in sorted(IMAGES.glob("*-avatar.png")):
            name, who = f"images/{file.name}", file.name.removesuffix("-avatar.png")
            if who == "human":  # the user's own
                continue
            is_chosen = name == draft.avatar and draft.picture is None
            with st.container(key=f"card-{'chosen' if is_chosen else 'other'}-picture-{who}", border=True):
                st.image(picture(file.stem) or str(file), width="stretch", alt="")
                st.button(f"Use {who}'s picture", key=f"talk-picture-{who}", on_click=choose, args=(name,))
    st.button("No picture", key="no_picture", type="tertiary", on_click=choose, args=(None,))


def _draw_words(draft: Draft) -> None:
    st.text_area(
        "Character description",
        key=key_of("system_prompt"),
        height=260,
        placeholder="You are Basil, an old gardener. You answer in two or three short sentences …",
        help="Write to the persona: You are … In every text, {{user}} and {{char}} stand for the two names.",
        **KEPT,
    )
    _draw_field_error(draft, "system_prompt")
    st.text_area(
        "Greeting",
        key=key_of("greeting"),
        height=80,
        help="The first message of a chat.",
        **KEPT,
    )
    _draw_field_error(draft, "greeting")
    _draw_other_greetings(draft)
    st.text_area(
        "Suggestions",
        key=key_of("suggestions"),
        height=100,
        placeholder="First questions to click on, one per line",
        **KEPT,
    )
    _draw_field_error(draft, "suggestions")


def _draw_other_greetings(draft: Draft) -> None:
    """The first messages that a chat can begin with instead."""

    def add() -> None:
        row = max(draft.other_rows, default=-1) + 1
        draft.other_rows.append(row)
        st.session_state[key_of(f"other_{row}")] = ""  # a removed row had text

    for place, row in enumerate(draft.other_rows, start=2):
        st.text_area(f"Greeting {place}", key=key_of(f"other_{row}"), height=80, **KEPT)
        _draw_field_error(draft, f"other_{row}")
        st.button(
            f"Remove greeting {place}",
            key=f"remove_other_{row}",
            icon=":material/delete:",
            type="tertiary",
            on_click=draft.other_rows.remove,
            args=(row,),
        )
    st.button(
        "Add a greeting",
        icon=":material/add:",
        key="add_other",
        on_click=add,
        disabled=len(draft.other_rows) >= MAX_GREETINGS,
        help="On the start page, arrows switch between the greetings.",
    )
    _draw_field_error(draft, "alternate_greetings")


def _draw_examples(draft: Draft) -> None:
    """Questions with answers that show the voice."""

    def add() -> None:
        row = max(draft.rows, default=-1) + 1
        draft.rows.append(row)
        st.session_state.update({key_of(f"{who}_{row}"): "" for who in ("user", "assistant")})  # a removed row had text

    st.markdown("**Examples**", help="Exchanges that show the voice: the model reads them as if they had happened.")
    for place, row in enumerate(draft.rows, start=1):
        with st.container(border=True, gap="xsmall"):
            st.text_area(f"Question {place}", key=key_of(f"user_{row}"), height=68, **KEPT)
            _draw_field_error(draft, f"user_{row}")
            st.text_area(f"Answer {place}", key=key_of(f"assistant_{row}"), height=100, **KEPT)
            _draw_field_error(draft, f"assistant_{row}")
            st.button(
                f"Remove example {place}",
                key=f"remove_example_{row}",
                icon=":material/delete:",
                type="tertiary",
                on_click=draft.rows.remove,
                args=(row,),
            )
    st.button(
        "Add an example",
        icon=":material/add:",
        key="add_example",
        on_click=add,
        disabled=len(draft.rows) >= MAX_EXAMPLES,
    )
    _draw_field_error(draft, "examples")


def _draw_rules(draft: Draft, options: Options) -> None:
    """The settings of the replies."""
    names = {one.id: one.name for one in options.guardrails if one.id != NONE}
    unknown = [one for one in st.session_state.get(key_of("guardrails")) or [] if one not in names]
    st.multiselect(
        "Guardrails added",
        [*names, *unknown],
        key=key_of("guardrails"),
        format_func=lambda one: names.get(one, one),
        help="Added to the one that is chosen in the chat, never instead of it.",
        placeholder="Only the one chosen in the chat",
        **KEPT,
    )
    _draw_field_error(draft, "guardrails")
    _draw_lorebooks(draft, options)
    with st.expander("Generation settings", icon=":material/tune:"), st.grid(2):
        for name in NUMBERS:
            with st.container(gap="xsmall"):
                draw_number(name, key_of(name))
                _draw_field_error(draft, name)
    with st.expander("Thinking, memory and position", icon=":material/history:"):
        draw_thinking(key_of("thinking"))
        strategy = st.selectbox(
            "Memory",
            list(NAMES),
            key=key_of("strategy"),
            format_func=lambda strategy: NAMES[strategy],
            help=HELP,
            **KEPT,
        )
        if strategy and "turns" in strategy:
            st.number_input("Turns before the question", 0, 1000, step=1, key=key_of("turns"), **KEPT)
            _draw_field_error(draft, "turns")
        st.number_input(
            "Position among the cards", 1, 1000, step=1, key=key_of("order"), help="Small numbers come first.", **KEPT
        )
    if draft.extensions:
        with st.expander("Kept for other programs", icon=":material/inventory_2:"):
            st.caption("Other fields of an imported file. The model doesn't see them; an export contains them again.")
            st.json(dict(draft.extensions), expanded=1)
    _draw_field_error(draft, "extensions")


def _draw_lorebooks(draft: Draft, options: Options) -> None:
    """The choice of lorebooks; one that the persona names and that isn't there stays in it until it is taken out."""
    books = {book_id: book.name for book_id, book in options.lorebooks.items()}
    chosen = st.session_state.get(key_of("lorebooks")) or []
    if not books and not chosen:
        return
    st.multiselect(
        "Lorebooks",
        list(dict.fromkeys([*books, *chosen])),
        key=key_of("lorebooks"),
        format_func=lambda one: as_label(books.get(one, f"{one} (not there)")),
        help="Knowledge that the model gets when a chat mentions it. Make and import them under *Lorebooks*.",
        placeholder="None",
        **KEPT,
    )
    _draw_field_error(draft, "lorebooks")


def _draw_end(draft: Draft) -> None:
    if draft.error:
        st.error(as_label(draft.error), icon=":material/error:")
    elif draft.errors:
        st.error("Not saved yet. Check the fields marked in red.", icon=":material/error:")
    with st.container(horizontal=True, gap="small", key="persona-end"):
        st.button("Save", key="save_persona", type="primary", icon=":material/check:", on_click=keep_draft)
        st.button("Cancel", key="cancel_persona", on_click=drop_draft)


def _draw_field_error(draft: Draft, field: str) -> None:
    """The error of a field, under it."""
    if error := draft.errors.get(field):
        st.markdown(f":red[:material/error: {as_label(error)}]")
