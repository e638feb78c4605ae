"""Clicks in a dialog while a reply is being written.

A dialog is a fragment of the page, and Streamlit runs a fragment only after the page's own run has ended. While a reply
is being written, that is when the reply is complete: until then nothing in a dialog would do anything.
"""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx


def attend_to_dialog() -> None:
    """Run the page anew where something in a dialog waits for its end: the dialog is drawn before the reply."""
    context = get_script_run_ctx(suppress_warning=True)
    requests = context.script_requests if context else None
    if requests is not None and requests._state.value == "RERUN" and requests._rerun_data.fragment_id_queue:
        st.rerun()
