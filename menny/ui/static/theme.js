// The theme. Streamlit reads it from the browser's storage when the page is loaded, under the address of each page: so a
// change of it loads the page again. What was typed into the box and the open tab of the sidebar are there afterwards.
// Where more would be lost (a temporary chat, a persona or a message that is being edited), the page waits.

const WOULD_BE_LOST = '.st-key-temporary, .st-key-unsent, .st-key-persona-end, [class*="st-key-edit-"] textarea, ' +
  '[data-testid="stChatInputDeleteBtn"], [role="dialog"]'
const KEPT = "menny-reload" // in the storage of the tab
const TABS = ".st-key-sidebar [role='tab']"

function setTheme(theme) {
  clearTimeout(window.mennyTheme)
  if (!theme) return
  const name = JSON.stringify(theme[0].toUpperCase() + theme.slice(1))
  const base = location.pathname.replace(/(personas|models)\/?$/, "")
  const keys = ["", "personas", "models"].map(page => `stActiveTheme-${base}${page}-v2`)
  const isNew = localStorage.getItem(keys[0]) !== name
  if (!isNew) return restore()
  if (document.querySelector(WOULD_BE_LOST)) {
    window.mennyTheme = setTimeout(() => setTheme(theme), 500)
    return
  }
  const text = document.querySelector('[data-testid="stChatInputTextArea"]')?.value
  const tab = document.querySelector(`${TABS}[aria-selected="true"]`)?.innerText
  sessionStorage.setItem(KEPT, JSON.stringify({ text, tab }))
  for (const key of keys) localStorage.setItem(key, name)
  location.reload()
}

function restore(tries = 100) {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null")
  if (!kept) return
  const box = document.querySelector('[data-testid="stChatInputTextArea"]')
  const tab = [...document.querySelectorAll(TABS)].find(one => one.innerText === kept.tab)
  const isDrawn = !document.querySelector('[data-test-script-state="running"]')
  if (box && isDrawn && (tab || !kept.tab)) {
    sessionStorage.removeItem(KEPT)
    if (kept.text && !box.value) fill(box, kept.text)
    if (tab?.ariaSelected === "false") tab.click()
  } else if (tries) setTimeout(() => restore(tries - 1), 100)
}

function fill(box, text) {
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, text)
  box.dispatchEvent(new Event("input", { bubbles: true }))
}

