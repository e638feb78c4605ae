// What the browser does on its own, without a rerun of the page.
//
// - Keys: Ctrl or ⌘ with K searches, with Shift O begins a new chat, with Shift Enter regenerates the last reply;
//   Esc stops a reply, or leaves a message that is being edited (which Ctrl or ⌘ with Enter sends, as any form).
// - Sending a message scrolls to the end, editing one focuses its field, choosing a search result scrolls to its message.
// - The message box has the focus once the page is there, after a new chat was begun or a persona was chosen, and when
//   what had the focus is gone; not where that would open a keyboard on the screen.
// - While the server is away, Streamlit's own dialog says so in our words; so do files that it holds back.
// - On a phone, choosing a chat or a page in the sidebar closes the sidebar.
// - Popovers and dialogs lie outside of the app's element, which alone knows whether the theme is light or dark: the
//   whole document takes its color scheme.
// - Texts in Arabic or Hebrew are set from right to left, each block by its own first letter.
// - Wide code and tables can be scrolled by keyboard.
// - The message box keeps the focus, and what is typed into it, when it is replaced.
// - A text that is tried on a lorebook shows what it calls up while it is typed.
// - A list that a finger opens stays open.
// - A download that fails while the page is being redrawn is tried once more.

const SEARCH = ".st-key-search input"
const EDITED_MESSAGE = '[class*="st-key-edit-"] textarea'
const BOX = '[data-testid="stChatInputTextArea"]'
const NAVIGATION = ':is(.st-key-new_chat, .st-key-new_temporary, [class*="st-key-open-"], [class*="st-key-found-"], ' +
  '[class*="st-key-restore-"], [class*="st-key-source-"]) button, [data-testid="stSidebarNavLink"]'
const STARTERS = ".st-key-new_chat, .st-key-new_temporary, [class*='st-key-talk-']"
const COVERS = '[role="dialog"], [role="listbox"], :popover-open' // what is open above the page
const PHONE_WIDTH = 768 // pixels, below which the sidebar covers the page

function click(selector) {
  const isVisible = element => element.offsetParent || element.shadowRoot
  const last = [...document.querySelectorAll(selector)].filter(isVisible).pop()
  last?.click()
  return Boolean(last)
}

// Keys

// Enter and Esc within a word that an input method composes (Chinese, Japanese) belong to it; 229 is how Safari says so.
function isComposing(event) {
  return event.isComposing || event.keyCode === 229
}

function handleKey(event) {
  if (isComposing(event)) return false
  const isCombined = event.ctrlKey || event.metaKey
  const isCovered = document.querySelector(COVERS)
  if (event.key === "Escape" && event.target.matches?.(EDITED_MESSAGE)) return leaveEditor(event.target)
  if (event.key === "Escape" && !isCovered) return stop()
  if (!isCombined || event.altKey) return false
  const key = event.key.toLowerCase()
  if (key === "k" && !event.shiftKey) return search()
  if (key === "o" && event.shiftKey) return click(".st-key-new_chat button")
  if (key === "enter" && event.shiftKey) return regenerate()
  return false
}

const stop = () => click(".st-key-stop button")

function leaveEditor(field) {
  field.closest('[data-testid="stForm"]').querySelector('[class*="st-key-leave-"] button').click()
  document.querySelector(BOX)?.focus()
  return true
}

function regenerate() {
  const bars = [...document.querySelectorAll('[class*="st-key-bar-"] *')].filter(element => element.shadowRoot)
  const buttons = bars.flatMap(bar => [...bar.shadowRoot.querySelectorAll('[aria-label="Regenerate the reply"]')])
  buttons.at(-1)?.click()
  return buttons.length > 0
}

function search() {
  const input = document.querySelector(SEARCH)
  if (!input) return false
  const isHidden = document.querySelector('[data-testid="stSidebar"]')?.dataset.collapsed === "true"
  if (isHidden) document.querySelector('[data-testid="stExpandSidebarButton"]')?.click()
  setTimeout(() => { input.focus(); input.select() }, isHidden ? 350 : 0)
  return true
}

// Where the page goes

function collapseSidebar(event) {
  if (innerWidth >= PHONE_WIDTH || !event.target.closest?.(NAVIGATION)) return
  const button = '[data-testid="stSidebar"][data-collapsed="false"] [data-testid="stSidebarCollapseButton"] button'
  setTimeout(() => click(button))
}

function scrollToNews(event) {
  const [target] = event.composedPath(), isKey = event.type === "keydown"
  if (!isKey && target.closest?.('[aria-label^="Edit the "]')) return focusEditedMessage(30)
  const isSending = isKey
    ? event.key === "Enter" && !event.shiftKey && !isComposing(event) && target.dataset?.testid === "stChatInputTextArea"
    : target.closest?.('[data-testid="stChatInputSubmitButton"]')
  if (isSending) keepAtEnd(20, untilMoved())
}

// From its end on, the page follows the reply: it is held there until the message is drawn, for so many tenths of a second.
function keepAtEnd(times, isOver) {
  const main = document.querySelector(".stMain")
  if (!main || isOver.signal.aborted) return
  main.scrollTo(0, main.scrollHeight)
  if (!times) return isOver.abort()
  setTimeout(() => keepAtEnd(times - 1, isOver), 100)
}

function untilMoved(kinds = ["wheel", "touchmove", "pointerdown"]) {
  const isOver = new AbortController()
  for (const kind of kinds) addEventListener(kind, () => isOver.abort(), { capture: true, signal: isOver.signal })
  return isOver
}

// A row that leads to a message names it, and then itself; the message's buttons bear its id too.
const RESULT = "st-key-target-"

function scrollToResult(event) {
  const result = event.target.closest?.(`[class*="${RESULT}"]`)
  const name = result && [...result.classList].find(name => name.startsWith(RESULT))
  if (!name) return
  const isOver = untilMoved(["wheel", "touchmove", "pointerdown", "keydown"])
  keepInView(`st-key-bar-${name.slice(RESULT.length).split("__")[0]}`, 600, 50, isOver)
}

// While the page is being drawn it grows and scrolls to its end: once the message is there, it is kept in view until the
// page has settled, or until the reader moves. Streamlit lets go of the end only when it sees the page scrolled while
// nothing else moves or grows: so each attempt waits until the page has stood still. All counts are of tenths of a second.
const STILL = 3

function keepInView(name, waiting, settling, isOver, top = -1, still = 0) {
  if (isOver.signal.aborted) return
  const main = document.querySelector(".stMain")
  const message = document.getElementsByClassName(name)[0]?.closest('[data-testid="stChatMessage"]')
  const before = main?.scrollTop
  still = before === top ? still + 1 : 0
  const isStill = still >= STILL
  if (isStill) message?.scrollIntoView({ block: message.offsetHeight < innerHeight / 2 ? "center" : "start" })
  const now = main?.scrollTop
  const isSettled = isStill && now === before && Boolean(message) && !document.querySelector('[data-test-script-state="running"]')
  if (!waiting || !settling) return isOver.abort()
  setTimeout(() => keepInView(name, waiting - !message, settling - isSettled, isOver, now, now === before ? still : 0), 100)
}

function focusEditedMessage(tries) {
  const field = document.querySelector(EDITED_MESSAGE)
  if (!field) return tries && setTimeout(() => focusEditedMessage(tries - 1), 100)
  if (document.activeElement === field) return // whoever was there sooner may have selected something
  field.focus()
  field.setSelectionRange(field.value.length, field.value.length)
}

// The box is there once the page is drawn. Whoever has gone elsewhere meanwhile stays there.
function focusBox(tries = 100) {
  if (matchMedia("(pointer: coarse)").matches) return
  const [box, now] = [document.querySelector(BOX), document.activeElement]
  const isDrawn = document.querySelector('[data-test-script-state="notRunning"], .st-key-stop button') // or is answering
  if (now && now !== document.body && !now.closest(STARTERS)) return
  if (box && !box.disabled && isDrawn) return box.focus()
  if (tries) setTimeout(() => focusBox(tries - 1), 100)
}

function beginChat(event) {
  if (event.target.closest?.(STARTERS)) setTimeout(focusBox, 200)
}

// What is clicked on may go: a suggestion, a question, a row. Without this the keyboard would start at the top again.
function catchFocus(event) {
  const left = event.target
  if (event.relatedTarget || !left.closest?.(".stApp")) return
  setTimeout(() => { if (!left.isConnected && !document.querySelector(COVERS)) focusBox() }, 300)
}

const REWORDED = [
  [/^Connection error$/, "Menny isn't running"],
  [/^(Streamlit server is not responding|Is Streamlit still running).*/,
    "Start Menny again, and this page goes on by itself. Your chats are kept."],
  [/^Error:$/, ""],
  [/^File must be ([0-9]+)\S* ?MB or smaller\.$/, "Too large: at most $1 MB."],
  [/^.*files are not allowed\.$/, "This kind of file can't be used here."],
]

function rewordErrors(signal) {
  const reword = () => {
    for (const one of document.querySelectorAll('[role="dialog"], .stFileChip [role="alert"]')) {
      const texts = document.createTreeWalker(one, NodeFilter.SHOW_TEXT)
      while (texts.nextNode()) {
        const text = texts.currentNode.data.trim()
        const found = REWORDED.find(([theirs]) => theirs.test(text))
        if (found) texts.currentNode.data = text.replace(...found)
      }
    }
  }
  observe(document.body, reword, signal, { childList: true, subtree: true })
}

// When a chat begins or is left, Streamlit replaces the message box. What is typed at that moment goes on in the new one.
// On a busy machine the new one comes seconds after the old one went.
function keepBox(signal) {
  let box = null, hadFocus = false // when it went
  const leave = ({ target }) => { if (target === box) queueMicrotask(() => { hadFocus = !target.isConnected }) }
  document.addEventListener("focusout", leave, { capture: true, signal })
  document.addEventListener("focusin", () => { hadFocus = false }, { capture: true, signal })
  const follow = () => {
    const [before, now] = [box, document.querySelector(BOX)]
    if (now === before || !now) return
    box = now
    if (!before || !hadFocus) return
    if (before.value && !now.value) fill(now, before.value)
    now.focus()
  }
  observe(document.body, follow, signal, { childList: true, subtree: true })
  follow()
}

// A file that is made on demand can't be had in the instant in which the page is redrawn.
function retryDownload(event, tries = 8) {
  const download = event.isTrusted && event.target.closest?.('[data-testid="stDownloadButton"]')
  if (!download || !tries) return
  setTimeout(() => {
    const hasFailed = download.querySelector('[data-testid="stDownloadButtonError"]')
    if (hasFailed) download.querySelector("button").click()
    else retryDownload(event, tries - 1)
  }, 250)
}

// A list that a finger opens may close at once, as its field takes the focus: it is opened once more.
function openList(event) {
  const field = event.target
  if (event.pointerType !== "touch" || !field.matches?.('[role="combobox"]') || field.ariaExpanded === "true") return
  setTimeout(() => {
    if (field.ariaExpanded === "false") field.parentElement.querySelector('button[aria-label="Open"]')?.click()
  }, 300)
}

// A text that is tried on a lorebook is sent as it is typed, as by Ctrl Enter.
let trial = 0

function tryLore(event) {
  const field = event.target
  if (!field.matches?.(".st-key-lore_trial textarea")) return
  clearTimeout(trial)
  const enter = { key: "Enter", code: "Enter", keyCode: 13, ctrlKey: true, bubbles: true, cancelable: true }
  trial = setTimeout(() => field.dispatchEvent(new KeyboardEvent("keydown", enter)), 300)
}

// How the page is set

function followTheme(signal) {
  const app = document.querySelector(".stApp")
  const follow = () => { document.documentElement.style.colorScheme = getComputedStyle(app).colorScheme }
  observe(app, follow, signal, { attributes: true, attributeFilter: ["class"] })
  follow()
}

// `dir="auto"` reads an element's first letter, skipping descendants that have a `dir` of their own: so blocks within a
// list, a quote or a table get none.
const MARKDOWN = ':is([data-testid="stMarkdownContainer"]:not(.stMarkdownEllipsis), [data-testid="stCaptionContainer"])'
const TEXTS = [
  `${MARKDOWN} :is(p, h1, h2, h3, h4, h5, h6):not(li *, blockquote *, table *)`,
  `${MARKDOWN} :is(ul, ol, blockquote, table)`,
  '[data-testid="stHeading"] :is(h1, h2, h3)',
  '[data-testid="stText"]',
  ".stMarkdownEllipsis",
  "input",
  "textarea",
].join(", ")

function followDirection(signal) {
  let isDue = false
  const set = () => {
    isDue = false
    for (const block of document.querySelectorAll(`:is(${TEXTS}):not([dir])`)) block.dir = "auto"
  }
  const setSoon = () => { // once before the browser paints, however often the page changes until then
    if (!isDue) requestAnimationFrame(set)
    isDue = true
  }
  observe(document.body, setSoon, signal, { childList: true, subtree: true })
  set()
}

// On a phone the suggestions stand above the message box, however much there is above that.
function measureBox(signal) {
  let box = null
  const sizes = new ResizeObserver(() => document.documentElement.style.setProperty("--box", `${box.offsetHeight}px`))
  const follow = () => {
    if (box?.isConnected) return
    box = document.querySelector('[data-testid="stBottom"]')
    sizes.disconnect()
    if (box) sizes.observe(box)
  }
  observe(document.body, follow, signal, { childList: true, subtree: true })
  signal.addEventListener("abort", () => sizes.disconnect())
  follow()
}

// Code and tables that are wider than the page scroll on their own, for the keyboard too.
const WIDE = ".stChatMessage :is(pre, table):not([tabindex])"

function letScroll(signal) {
  let due = 0
  const look = () => {
    due = 0
    for (const one of document.querySelectorAll(WIDE)) if (one.scrollWidth > one.clientWidth) one.tabIndex = 0
  }
  observe(document.body, () => { due ||= setTimeout(look, 500) }, signal, { childList: true, subtree: true })
  look()
}

function observe(element, onChange, signal, what) {
  const observer = new MutationObserver(onChange)
  observer.observe(element, what)
  signal.addEventListener("abort", () => observer.disconnect())
}

export default function ({ data }) {
  setTheme(data?.theme)
  window.mennyKeys?.abort() // of an earlier call: the listeners are the document's, which outlives the component
  window.mennyKeys = new AbortController()
  const { signal } = window.mennyKeys
  const options = { capture: true, signal }
  document.addEventListener("keydown", event => { if (handleKey(event)) event.preventDefault() }, options)
  document.addEventListener("click", collapseSidebar, options)
  document.addEventListener("click", scrollToResult, options)
  document.addEventListener("click", event => retryDownload(event), options)
  for (const kind of ["keydown", "click"]) document.addEventListener(kind, scrollToNews, options)
  document.addEventListener("click", beginChat, options)
  document.addEventListener("focusout", catchFocus, options)
  document.addEventListener("input", tryLore, options)
  document.addEventListener("pointerdown", openList, options)
  keepBox(signal)
  followTheme(signal)
  followDirection(signal)
  letScroll(signal)
  measureBox(signal)
  rewordErrors(signal)
  if (!window.mennyHasFocused) focusBox()
  window.mennyHasFocused = true
}
