"""What the browser does by itself: keys press buttons, a phone's sidebar makes way, popovers take the page's theme."""

import streamlit as st

_JS = """
const FIND = ".st-key-search input"
const press = selector => {
  const found = [...document.querySelectorAll(selector)].filter(one => one.offsetParent || one.shadowRoot).pop()
  found?.click()
  return Boolean(found)
}

function regenerate() {
  const bars = [...document.querySelectorAll('[class*="st-key-bar-"] *')].filter(one => one.shadowRoot)
  const buttons = bars.flatMap(one => [...one.shadowRoot.querySelectorAll('[aria-label="Regenerate the reply"]')])
  buttons.pop()?.click()
  return buttons.length > 0
}

function search() {
  const input = document.querySelector(FIND)
  if (!input) return false
  const isHidden = document.querySelector('[data-testid="stSidebar"]')?.dataset.collapsed === "true"
  if (isHidden) document.querySelector('[data-testid="stExpandSidebarButton"]')?.click()
  setTimeout(() => { input.focus(); input.select() }, isHidden ? 350 : 0)
  return true
}

const stop = () => press('[data-testid="stChatInputStopButton"]') || press(".st-key-stop button")

const EDITED = '[class*="st-key-edit-"] textarea'

function done(event) {
  const combined = event.ctrlKey || event.metaKey
  const isInFront = document.querySelector('[role="dialog"], [role="listbox"], :popover-open')
  if (event.key === "Escape" && event.target.matches?.(EDITED)) return press('[class*="st-key-leave-"] button')
  if (event.key === "Escape" && !isInFront) return stop()
  if (!combined || event.altKey) return false
  const key = event.key.toLowerCase()
  if (key === "k" && !event.shiftKey) return search()
  if (key === "o" && event.shiftKey) return press(".st-key-new_chat button")
  if (key === "enter" && event.shiftKey) return regenerate()
  return false
}

const LEADS_AWAY = '.st-key-new_chat button, [class*="st-key-open-"] button, [class*="st-key-found-"] button, ' +
  '[data-testid="stSidebarNavLink"]'

function makeWay(event) {
  if (innerWidth >= 768 || !event.target.closest?.(LEADS_AWAY)) return
  const shown = '[data-testid="stSidebar"][data-collapsed="false"] [data-testid="stSidebarCollapseButton"] button'
  setTimeout(() => press(shown))
}

function show(event) {
  const [target] = event.composedPath(), isKey = event.type === "keydown"
  if (!isKey && target.closest?.('[aria-label="Edit the message"]')) return focusSoon(30)
  const sends = isKey
    ? event.key === "Enter" && !event.shiftKey && !event.isComposing && target.dataset?.testid === "stChatInputTextArea"
    : target.closest?.('[data-testid="stChatInputSubmitButton"]')
  const main = document.querySelector(".stMain")
  if (sends) main.scrollTo(0, main.scrollHeight)  // from its end on, the page follows what is said
}

function focusSoon(tries) {
  const found = document.querySelector(EDITED)
  if (!found) return tries && setTimeout(() => focusSoon(tries - 1), 100)
  found.focus()
  found.setSelectionRange(found.value.length, found.value.length)
}

// A file that is made when it is asked for can't be had in the instant in which the page is drawn anew: then once more.
function insist(event, tries = 8) {
  const saving = event.isTrusted && event.target.closest?.('[data-testid="stDownloadButton"]')
  if (!saving || !tries) return
  setTimeout(() => {
    const hasFailed = saving.querySelector('[data-testid="stDownloadButtonError"]')
    if (hasFailed) saving.querySelector("button").click()
    else insist(event, tries - 1)
  }, 250)
}

function followTheme(signal) {
  const app = document.querySelector(".stApp")
  const follow = () => { document.documentElement.style.colorScheme = getComputedStyle(app).colorScheme }
  const watching = new MutationObserver(follow)
  watching.observe(app, { attributes: true, attributeFilter: ["class"] })
  signal.addEventListener("abort", () => watching.disconnect())
  follow()
}

export default function () {
  const listen = event => { if (done(event)) event.preventDefault() }
  window.mennyKeys?.abort()
  window.mennyKeys = new AbortController()
  followTheme(window.mennyKeys.signal)
  const options = { capture: true, signal: window.mennyKeys.signal }
  document.addEventListener("keydown", listen, options)
  document.addEventListener("click", makeWay, options)
  document.addEventListener("click", event => insist(event), options)
  for (const kind of ["keydown", "click"]) document.addEventListener(kind, show, options)
}
"""


def listen_to_keys() -> None:
    """Ctrl or ⌘ with K: search, with Shift O: a new chat, with Shift Enter: regenerate; Esc: stop, or leave a message.

    Who sends a message wants to see what becomes of it, who edits one to write in it: the page goes there.

    Where the sidebar covers the page, choosing a chat or another page in it closes it. Popovers and dialogs lie outside
    of the app's element, which alone knows whether it is light or dark: the whole document is told. A download that
    failed as the page was being drawn is asked for once more.
    """
    st.components.v2.component("menny_shortcuts", html="<span></span>", js=_JS)(key="shortcuts", height=0)
