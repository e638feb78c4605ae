"""The state of the models page in one tab."""

from dataclasses import dataclass, field

import streamlit as st

from menny.models.loader import Found

KEY = "models-view"


@dataclass(slots=True)
class View:
    """The state of the page in a tab."""

    chosen: dict[str, str] = field(default_factory=dict)  # the id of a model, by its family
    words: str = ""  # that have yet to be searched for
    found: list[Found] | None = None  # None: nothing was searched for
    left_out: int = 0  # repositories that Menny can't load

    @classmethod
    def current(cls) -> "View":
        """Return the tab's own."""
        view = st.session_state.setdefault(KEY, cls())
        assert isinstance(view, cls)  # noqa: S101 - nobody else writes this key
        return view
