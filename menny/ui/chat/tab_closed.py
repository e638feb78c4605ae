"""Whether the page still has a reader: Streamlit stops it alike for the stop button and for a tab that has gone."""

import time

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

GRACE = 0.2  # seconds in which Streamlit, having stopped the page of a tab that has gone, lets go of its session


def has_left() -> bool:
    """Whether the tab of the page that was stopped is gone."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not runtime.exists():
        return True
    until = time.monotonic() + GRACE
    while time.monotonic() < until:
        if not runtime.get_instance().is_active_session(context.session_id):
            return True
        time.sleep(0.005)
    return False
