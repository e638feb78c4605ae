"""The dialog in which a profile of the user is written, changed and deleted."""

import streamlit as st
from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import MennyError
from menny.personas.avatars import as_avatar
from menny.personas.profiles import MAX_DESCRIPTION, Profile, ProfileFile
from menny.text import sanitize
from menny.ui.personas.persona_store import own_personas
from menny.ui.personas.profile_store import copy_to_personas, delete_profile, keep_profile
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session, Undo
from menny.ui.shared.options import Options
from menny.ui.shared.pictures import human_avatar

OPEN = "profile_open"  # in the session's state: the id of the profile that is edited, empty for a new one


def open_profile(profile_id: str) -> None:
    """Open the dialog for a profile, or for a new one where the id is empty."""
    st.session_state[OPEN] = profile_id


def draw_profile_dialog(session: Session, options: Options) -> None:
    """Draw the dialog, if it is open."""
    profile_id = st.session_state.get(OPEN)
    if profile_id is None:
        return
    profile = next((one for one in options.profiles if one.id == profile_id), None)

    @st.dialog("Your profile" if profile else "New profile", on_dismiss=_close)
    def edit() -> None:
        _draw_fields(session, options, profile)

    edit()


def _close() -> None:
    st.session_state.pop(OPEN, None)


def _draw_fields(session: Session, options: Options, profile: Profile | None) -> None:
    shown = profile or Profile.model_construct(id="", name="", description="", avatar=None, personas=())
    names = {persona.id: persona.name for persona in options.personas}
    names |= {one: one for one in shown.personas if one not in names}
    default = bool(profile) and (options.settings.profile or "") == shown.id
    avatar = human_avatar(shown)
    if not avatar.startswith(":"):
        st.image(avatar, width=72, alt="Your picture")
    name = st.text_input("Name", value=shown.name, max_chars=60, key="profile_name")
    description = st.text_area(
        "About you",
        value=shown.description,
        max_chars=MAX_DESCRIPTION,
        key="profile_description",
        help="The model is told this after the persona's own description. {{user}} stands for the name.",
    )
    picture = st.file_uploader(
        "Picture", type=["png", "jpg", "jpeg", "webp", "gif"], key="profile_picture", max_upload_size=12
    )
    used_with = st.multiselect(
        "Always with these personas",
        list(names),
        default=list(shown.personas),
        format_func=lambda one: names[one],
        key="profile_personas",
        placeholder="None",
    )
    is_default = st.toggle("Use it in all other chats", value=default or not options.profiles, key="profile_default")
    errors = st.container()  # above the buttons, where it is in sight on a phone
    with st.container(horizontal=True, gap="small"):
        is_saved = st.button("Save", type="primary", key="profile_save")
        is_copied = profile is not None and st.button(
            "Copy to personas", key="profile_copy", help="Saves the profile, and makes a persona that you can talk to."
        )
        is_deleted = profile is not None and st.button("Delete", key="profile_delete", type="tertiary")
    try:
        if is_deleted:
            put_back = delete_profile(shown.id)
            session.undo = Undo(f"{shown.name} was deleted.", put_back, "sidebar")
        elif is_saved or is_copied:
            values = {"name": name, "description": description, "avatar": shown.avatar, "personas": used_with}
            kept = from_data({key: sanitize(v) if isinstance(v, str) else v for key, v in values.items()}, ProfileFile)
            profile_id = keep_profile(kept, shown.id, as_avatar(picture.getvalue()) if picture else None)
            if is_default != default:
                session.set_app(profile=profile_id if is_default else "")
            if is_copied:
                persona_id = copy_to_personas(kept)
                sentence = f"{kept.name} is one of your personas now."
                session.undo = Undo(sentence, lambda: own_personas().delete(persona_id), "sidebar")
    except ValidationError as error:
        (place, text), *_ = field_errors(error, ProfileFile)
        errors.error(as_label(f"{str(place[0]).capitalize()}: {text}"), icon=":material/error:")
    except MennyError as error:
        errors.error(as_label(str(error)), icon=":material/error:")
    else:
        if is_saved or is_copied or is_deleted:
            _close()
            st.rerun()
