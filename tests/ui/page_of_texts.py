"""A page that shows texts of a file as messages, one after the other: `streamlit run tests/ui/page_of_texts.py`.

The file is `texts.json` in the home; the address says which list of it to show, and how.
"""

import json

import streamlit as st

from menny.config.paths import home
from menny.ui.safe_markdown import as_label, as_markdown

batch = st.query_params.get("batch", "")
if batch:
    for text in json.loads((home() / "texts.json").read_text("utf-8"))[batch]:
        if batch.startswith("label"):
            st.caption(as_label(text))
        else:
            st.markdown(as_markdown(text), anchors=False)
    st.text("All drawn.")
