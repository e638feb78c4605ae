"""What the theme can't say: a few rules for elements that carry a key of ours."""

import streamlit as st

CSS = """
<style>
/* Text as it was typed: the fonts would draw `->` as an arrow and `8x7` with a times sign. */
.stApp { font-variant-ligatures: no-contextual; }

/* The start: a picture that leaves room for the cards below it. */
.st-key-hero img { border-radius: 1.25rem; aspect-ratio: 16 / 4; object-fit: cover; object-position: 50% 40%; }
.st-key-hero h1 { padding-bottom: 0; }

/* A persona's card is one button, which lies over what the card shows. */
[class*="st-key-card-"] { position: relative; padding: .7rem .8rem; transition: background-color .15s; }
[class*="st-key-card-"]:hover { background-color: color-mix(in srgb, currentColor 5%, transparent); }
[class*="st-key-card-"]:focus-within { outline: 2px solid #ff8617; outline-offset: 2px; }
[class*="st-key-card-chosen-"] { border-color: #ff8617; background: color-mix(in srgb, #ff8617 12%, transparent); }
[class*="st-key-card-"] img { border-radius: .6rem; }
[class*="st-key-card-"] p { line-height: 1.3; }
[class*="st-key-card-"] [class*="st-key-talk-"] { position: absolute; inset: 0; width: 100%; height: 100%; }
[class*="st-key-talk-"] :is(div, button) { width: 100%; height: 100%; }
[class*="st-key-talk-"] button { opacity: 0; cursor: pointer; }

/* What the user said, on a ground of the theme's own colours. */
[class*="st-key-user-"] .stChatMessage { background-color: color-mix(in srgb, #ff8617 9%, transparent); }

@media (prefers-reduced-motion: reduce) { * { animation-duration: .01ms !important; transition: none !important; } }
</style>
"""


def apply_style() -> None:
    """Add the rules to the page."""
    st.html(CSS)
