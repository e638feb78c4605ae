"""Callbacks, kept whole: a press is never lost because another one comes at once.

Streamlit looks for a newer event before it applies the one that a run is for, and whenever a callback uses
`st.session_state`. Where there is one, the run ends there, and nobody runs the rest of that callback, or any of it: on
a busy machine that lost a "New chat" that a message followed, and could lose a message. A run looks for newer events
right after its callbacks, which is soon enough.
"""

from typing import Any

from streamlit.runtime.state.safe_session_state import SafeSessionState


def keep_callbacks_whole() -> None:
    """Have each event applied, with its callbacks, before the next one is looked at, in all sessions from now on."""
    SafeSessionState.on_script_will_rerun = _apply_whole  # type: ignore[method-assign, assignment]


def _apply_whole(state: SafeSessionState, *args: Any, **named: Any) -> None:
    look_for_events = state._yield_callback
    object.__setattr__(state, "_yield_callback", lambda: None)  # setting it plainly would set a key of the session
    try:
        with state._lock:
            state._state.on_script_will_rerun(*args, **named)
    finally:
        object.__setattr__(state, "_yield_callback", look_for_events)
