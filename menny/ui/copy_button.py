"""A button that puts a text on the clipboard, as it was written and not as it is shown."""

import streamlit as st

_HTML = """<button type="button" title="Copy" aria-label="Copy the reply">
<svg viewBox="0 0 24 24" width="16" height="16" fill="none" stroke="currentColor" stroke-width="2"
 stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
<g class="copy"><rect x="9" y="9" width="12" height="12" rx="2.5"/>
<path d="M5 15H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v1"/></g>
<path class="done" d="M4 12.5l5.5 5.5L20 7"/></svg></button>"""

_CSS = """
button { all: unset; box-sizing: border-box; display: grid; place-items: center; width: 28px; height: 28px;
  margin-left: -6px; border-radius: 9px; cursor: pointer; color: var(--st-text-color); opacity: .55; }
button:hover { opacity: 1; background: var(--st-secondary-background-color); }
button:focus-visible { opacity: 1; outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.done, button.copied .copy { display: none; }
button.copied .done { display: inline; }
"""

_JS = """
async function write(text, parent) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement("textarea")  // a page served without https, on another address
  area.value = text
  parent.appendChild(area)
  area.select()
  document.execCommand("copy")
  area.remove()
}
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button")
  button.onclick = async () => {
    await write(data.text, parentElement)
    button.classList.add("copied")
    button.setAttribute("aria-label", "Copied")
    setTimeout(() => { button.classList.remove("copied"); button.setAttribute("aria-label", "Copy the reply") }, 1500)
  }
}
"""


def copy_button(text: str, key: str) -> None:
    """Draw the button."""
    component = st.components.v2.component("menny_copy_button", html=_HTML, css=_CSS, js=_JS)
    component(data={"text": text}, key=key, width=28, height=28)
