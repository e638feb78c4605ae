"""The moderators that all tabs share."""

import streamlit as st

from menny.moderation.moderator_cache import ModeratorCache


@st.cache_resource(show_spinner=False)
def shared_moderators() -> ModeratorCache:
    """Return the moderators of this process."""
    return ModeratorCache()
