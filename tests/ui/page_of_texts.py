"""A page that shows texts of a file, one below the other: `streamlit run tests/ui/page_of_texts.py`.

The file is `texts.json` in the home: what to show them as, and the texts.
"""

import json

import streamlit as st

from menny.config.paths import home
from menny.ui.safe_markdown import as_label, draw_markdown

kind, texts = json.loads((home() / "texts.json").read_text("utf-8"))
for number, text in enumerate(texts):
    with st.container(key=f"text-{number}"):
        match kind:
            case "message":
                draw_markdown(text)
            case "growing":
                draw_markdown(text, cursor="▍", place=st.empty())
            case "caption":
                st.caption(as_label(text))
            case "error":
                st.error(as_label(text))
            case "button":
                st.button(as_label(text), key=f"button-{number}")
            case "strong":
                st.markdown(f"**{as_label(text)}** :shimmer[{as_label(text)}]")
st.text("All is drawn.")
