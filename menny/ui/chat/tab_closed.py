"""Tell a closed tab from a click on Stop: Streamlit stops the page in the same way for both."""

import time

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

GRACE = 0.2  # seconds that Streamlit takes to end the session of a closed tab after stopping its page


def has_left() -> bool:
    """Return whether the tab of the stopped page was closed."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not runtime.exists():
        return True
    until = time.monotonic() + GRACE
    while time.monotonic() < until:
        if not runtime.get_instance().is_active_session(context.session_id):
            return True
        time.sleep(0.005)
    return False
