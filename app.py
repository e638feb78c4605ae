"""The entry, `streamlit run app.py`: the page, behind a check of who asks for it and headers that let nothing in."""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from menny.ui.origin_check import OriginCheck
from menny.ui.security_headers import SecurityHeaders

app = st.App(
    Path(__file__).parent / "menny" / "ui" / "page.py",
    middleware=[Middleware(SecurityHeaders), Middleware(OriginCheck)],
)
