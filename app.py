"""The entry, `streamlit run app.py`: the page, behind a check of who asks for it and headers that let nothing in."""

import streamlit as st
from starlette.middleware import Middleware

from menny.config.paths import PACKAGE
from menny.ui.chat.changes import changes_route
from menny.ui.origin_check import OriginCheck
from menny.ui.security_headers import SecurityHeaders

app = st.App(
    PACKAGE / "ui" / "page.py",
    routes=[changes_route()],
    middleware=[Middleware(SecurityHeaders), Middleware(OriginCheck)],
)
