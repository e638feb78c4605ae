"""An event is applied with its callbacks before the next one is looked at."""

from typing import Any

import pytest
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState

from menny.ui.shared.callbacks import keep_callbacks_whole


class NewerEventError(Exception):
    """Where Streamlit would end the run for a newer event."""


@pytest.mark.parametrize("fails", [False, True])
def test_a_newer_event_waits_until_the_callbacks_are_done(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    done = []

    def end_run() -> None:
        raise NewerEventError

    state = SafeSessionState(SessionState(), end_run)

    def callback(*_: Any, **__: Any) -> None:
        state["typed"] = "hello"
        done.append(state["typed"])
        if fails:
            raise ValueError("a callback's own error")

    monkeypatch.setattr(SessionState, "on_script_will_rerun", callback)
    keep_callbacks_whole()
    with pytest.raises(ValueError, match="own error") if fails else monkeypatch.context():
        state.on_script_will_rerun(None)
    assert done == ["hello"]
    with pytest.raises(NewerEventError):  # from then on they are looked for as ever
        state["typed"]
