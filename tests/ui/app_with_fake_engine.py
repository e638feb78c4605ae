"""As app.py, with the page over a fake engine: `streamlit run tests/ui/app_with_fake_engine.py`."""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from menny.ui.chat.changes import changes_route
from menny.ui.origin_check import OriginCheck
from menny.ui.security_headers import SecurityHeaders

app = st.App(
    Path(__file__).with_name("page_with_fake_engine.py"),
    routes=[changes_route()],
    middleware=[Middleware(SecurityHeaders), Middleware(OriginCheck)],
)
