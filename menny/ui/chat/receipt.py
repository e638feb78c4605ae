"""The dialog with what exactly the model got for a reply: its tokens by kind, and the text with its control tokens."""

from collections.abc import Mapping, Sequence

import streamlit as st

from menny.chat.receipts import Receipt, Segment, read_receipt
from menny.ui.session import Session
from menny.ui.shared.static import static_text

NAMES: Mapping[str, str] = {
    "guardrails": "Guardrails",
    "persona": "Persona",
    "you": "You",
    "lore": "Lore",
    "memory": "Memory",
    "examples": "Examples",
    "summary": "Summary",
    "note": "Note",
    "turns": "Turns",
}
FORMAT = "Chat format"
TOOL = ("Receipt", "What the model got")

_HTML = '<pre tabindex="0"></pre>'


def draw_open_receipt(session: Session) -> None:
    """Draw the dialog of the reply whose receipt is open, if one is."""
    path = session.chat.entries
    reply = next((entry for entry in path if entry.id == session.reviewing), None)
    if reply is None:
        return

    @st.dialog("What the model got", width="large", on_dismiss=session.close_dialog)
    def review() -> None:
        if receipt := read_receipt(reply, path):
            _draw(receipt)
        else:
            st.markdown(
                "There is no record of it: an older Menny or another program wrote this reply, or it has no text."
            )

    review()


def shares_of(receipt: Receipt) -> list[tuple[str, int]]:
    """Return the tokens of a prompt by kind, with our names of the kinds; the rest is its template's."""
    shares = [(name, receipt.sections[kind]) for kind, name in NAMES.items() if receipt.sections.get(kind, 0) > 0]
    rest = receipt.tokens - sum(tokens for _, tokens in shares)
    return [*shares, (FORMAT, rest)] if rest > 0 else shares


def reuse_of(receipt: Receipt) -> str:
    """Return the sentence on how much of a prompt was computed for it."""
    if not receipt.cached:
        return f"{receipt.tokens:,} tokens, all read for this reply."
    share = round(100 * min(receipt.cached, receipt.tokens) / max(1, receipt.tokens))
    return f"{receipt.tokens:,} tokens. {receipt.cached:,} of them ({share}%) were cached and not read again."


def _draw(receipt: Receipt) -> None:
    st.markdown(reuse_of(receipt))
    with st.container(key="receipt-shares", horizontal=True, gap="small"):
        for name, tokens in shares_of(receipt):
            st.markdown(f"{name} **{tokens:,}**", width="content")
    segments: Sequence[Segment] = receipt.segments
    if receipt.base and st.toggle("Only what is new since the previous reply", key="receipt-new"):
        segments = receipt.new
    component = st.components.v2.component(
        "menny_receipt", html=_HTML, css=static_text("receipt.css"), js=static_text("receipt.js")
    )
    component(data={"segments": [list(one) for one in segments]}, key="receipt-text", height="content")
    st.caption("Colored: tokens that only Menny can write. The same words in a message are plain text.")
