"""The moderator that all sessions share."""

import streamlit as st

from menny.moderation.moderator_cache import ModeratorCache


@st.cache_resource(show_spinner=False)
def shared_moderators() -> ModeratorCache:
    """The process's one."""
    return ModeratorCache()
